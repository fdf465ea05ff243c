# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Completions for bash, zsh and fish."""

DEVICES = "ls /sys/bus/pci/devices 2>/dev/null"
OPERATIONS = "iommufd explain 2>/dev/null"
HEAD = "# Made by packaging/words/generate from what `iommufd --help` says.\n"


def _values(option):
    """Words to choose from, or a command that lists them; None: files."""
    if option.choices:
        return "words", option.choices
    return {"BDF": ("command", DEVICES), "OPERATION": ("command", OPERATIONS)}.get(option.value, ("files", None))


def _plain(text):
    return "".join(c for c in text if c not in "'\"`[]:\\$")


def bash(commands):
    yield HEAD
    yield "_iommufd() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n    COMPREPLY=()\n"
    yield '    [ "$COMP_CWORD" -gt 1 ] || command=\n    case $command:$before in\n'
    for command in commands:
        for option in command.options:
            if not option.value:
                continue
            kind, what = _values(option)
            list_ = {"words": lambda: f'compgen -W "{" ".join(what)}" -- "$word"',
                     "command": lambda: f'compgen -W "$({what})" -- "$word"',
                     "files": lambda: 'compgen -f -- "$word"'}[kind]()
            names = "|".join(f"{command.name}:{name}" for name in option.names)
            yield f"    {names}) mapfile -t COMPREPLY < <({list_}); return ;;\n"
    yield "    esac\n    case $command in\n"
    for command in commands[1:]:
        options = " ".join(name for option in command.options for name in option.names)
        extra = ""
        for positional in command.positionals:
            kind, what = _values(positional)
            extra += {"words": lambda: " " + " ".join(what), "command": lambda: f" $({what})", "files": lambda: ""}[kind]()
            break
        yield f'    {command.name}) mapfile -t COMPREPLY < <(compgen -W "{options}{extra}" -- "$word") ;;\n'
    first = " ".join([*(c.name for c in commands[1:]), *(n for o in commands[0].options for n in o.names)])
    yield f'    *) mapfile -t COMPREPLY < <(compgen -W "{first}" -- "$word") ;;\n    esac\n}}\ncomplete -F _iommufd iommufd\n'


def _zsh_action(option):
    kind, what = _values(option)
    return {"words": lambda: f"({' '.join(what)})", "command": lambda: f"({{$({what})}})".replace("{", "").replace("}", ""),
            "files": lambda: "_files"}[kind]()


def zsh(commands):
    yield "#compdef iommufd\n" + HEAD
    yield "_iommufd() {\n    local -a commands\n    commands=(\n"
    for command in commands[1:]:
        yield f"        '{command.name}:{_plain(command.text)}'\n"
    yield "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        compadd -- --help --version\n        return\n    fi\n"
    yield "    case $words[2] in\n"
    for command in commands[1:]:
        yield f"    {command.name})\n        _arguments"
        for option in command.options:
            for name in option.names:
                value = f":{option.value.lower()}:{_zsh_action(option)}" if option.value else ""
                yield f" \\\n            \"*{name}[{_plain(option.text)}]{value}\""
        for positional in command.positionals:
            yield f" \\\n            \"*:{positional.names[0]}:{_zsh_action(positional)}\""
            break
        yield "\n        ;;\n"
    yield "    esac\n}\n_iommufd \"$@\"\n"


def fish(commands):
    yield HEAD
    yield "complete -c iommufd -f\n"
    for command in commands[1:]:
        yield f"complete -c iommufd -n __fish_use_subcommand -a {command.name} -d '{_plain(command.text)}'\n"
    for command in commands:
        seen = f"'__fish_seen_subcommand_from {command.name}'" if command.name else "__fish_use_subcommand"
        for option in [*command.options, *command.positionals[:1]]:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names if n.startswith("-"))
            kind, what = _values(option)
            value = {"words": lambda: f" -a '{' '.join(what)}'", "command": lambda: f" -a '({what})'", "files": lambda: " -F"}[kind]()
            value = (" -r" if names else "") + value if option.value or option.choices or not names else ""
            yield f"complete -c iommufd -n {seen} {names}{value} -d '{_plain(option.text)}'\n"


def all_shells(commands):
    return [("iommufd", "".join(bash(commands))), ("_iommufd", "".join(zsh(commands))), ("iommufd.fish", "".join(fish(commands)))]
