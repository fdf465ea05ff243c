#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What QEMU and `iommufd run -qmp` answer to the same bytes, held against each other byte by byte:

    tests/qmp/against_qemu.py build/dev/src/cli/iommufd [SEED [ROUNDS]]
"""

import os
import random
import re
import shutil
import sys

sys.dont_write_bytecode = True
import client  # noqa: E402

QEMU = "qemu-system-x86_64"
MARK = b"the-end-of-a-round"

# Where the two differ by their nature: who they are, and when it was.
OWN = [
    (re.compile(rb'"version": \{"qemu": \{[^}]*\}, "package": "[^"]*"\}, "capabilities": \[[^]]*\]'), b"VERSION"),
    (re.compile(rb'\{"qemu": \{"micro": \d+, "minor": \d+, "major": \d+\}, "package": "[^"]*"\}'), b"VERSION"),
    (re.compile(rb'"seconds": \d+, "microseconds": \d+'), b"TIME"),
    # Ours goes on with who uses it.
    (re.compile(rb"(is in use, can not be deleted)[^\"]*"), rb"\1"),
]


def execute(name, arguments=None, **more):
    import json
    request = {"execute": name}
    if arguments is not None:
        request["arguments"] = arguments
    return json.dumps({**request, **more}).encode()


NEGOTIATION = [
    execute("query-version"), execute("nosuch", id=1), b"{}", b"[", b"]",
    execute("qmp_capabilities", {"enable": ["foo"]}), execute("qmp_capabilities", {"enable": [1]}),
    execute("qmp_capabilities", {"enable": 1}), execute("qmp_capabilities", {"x": 1}), execute("qmp_capabilities", id="a"),
    execute("qmp_capabilities", id=[]),
]

MEMORY = {"qom-type": "memory-backend-ram", "id": "m", "size": 1 << 20}

CONVERSATION = [
    # Requests.
    b'{"execute":1}', b"{}", b"[]", b'{"execute":"query-version","foo":1}', b'{"foo":1,"bar":2,"baz":3}', b'{"":1}',
    execute("nosuch"), execute("query-version", []), execute("query-version", {"x": 1}), b'{"arguments":{}}', b'{"id":5}',
    execute("query-version", control=1), execute("query-commands", {"x": 1}), execute("quit", {"x": 1}),
    execute("query-status"), execute("query-version"),
    # Ids of every kind.
    b'{"id":{"b":[1,2.5,null,true,"\\u00e9\\n\\u0001x\x7f/"],"a":-9223372036854775808,"c":18446744073709551615,"d":1e400,"e":1.0}}',
    b'{"id":{"execute":1,"arguments":2,"control":3,"id":4,"return":5,"error":6,"event":7,"data":8,"timestamp":9,"class":3}}',
    b'{"id":-0}', b'{"id":-0.0}', b'{"id":123456789012345678901234567890}', b'{"id":0.1}', b'{"id":1e5}', b"{'id':'it\\'s'}",
    b'{"id":"\\/\\b\\f\\n\\r\\t\\\\\\"\\ud83d\\ude00\xf0\x9f\x98\x80\xc0\x80"}',
    # JSON that is none.
    b'{"a" 1}', b'{"a":}', b'{"a":1 "b":2}', b"{1:2}", b'{"a":1,}', b"[1 2]", b"[1,]", b"[,]", b"}", b"]", b"[}", b"{]", b",", b":",
    b'{"execute":nosuch}', b'{"a":[1,{"b":nope}]}', b'{"a":1,"a":2}', b'{"a":1;}', b"/* c */\n", b"A B C\n", b'A"{"id":1}\n',
    b"%d \n", b"01 \n", b"-\n", b"1.\n", b"1e\n", b"0e1 ", b"12a ", b"nul\n", b"null\n", b'"a\n', b"\xff\n", b"\x00\n", b"1\xff\n",
    b'{"execute":"\\q"}', b'{"execute":"\\u12"}', b'{"execute":"\\u12g4"}', b'{"execute":"\\ud800"}', b'{"execute":"\\udc00"}',
    b'{"execute":"\\ud800\\u0041"}', b'{"execute":"\\uffff"}', b'{"execute":"\\u0000"}', b'{"execute":"\xc3"}',
    b'{"execute":"\xed\xa0\x80"}', b'{"execute":"\xf4\x90\x80\x80"}', b'{"execute":"\xef\xbf\xbf"}', b'{"execute":"a\nb"}\n',
    b"[" * 1030 + b"]" * 1030, b'{"a":' * 1025 + b"1" + b"}" * 1025, b'{"execute":"' + b"x" * 2000 + b'"}', b"[" + b"x" * 2000 + b"]",
    # Objects.
    execute("object-add", {}), execute("object-add"), execute("object-add", {"qom-type": "iommufd"}),
    execute("object-add", {"qom-type": "nosuch", "id": "a"}), execute("object-add", {"qom-type": 7, "id": "a"}),
    execute("object-add", {"qom-type": "vfio-pci", "id": "a"}), execute("object-add", {"qom-type": "iommufd", "id": 7}),
    execute("object-add", {"qom-type": "iommufd", "id": "1a"}), execute("object-add", {"qom-type": "iommufd", "id": ""}),
    execute("object-add", {"qom-type": "iommufd", "id": "a", "fd": 1}),
    execute("object-add", {"qom-type": "iommufd", "id": "a", "foo": 1}),
    execute("object-add", {"qom-type": "iommufd", "id": "a", "fd": "nosuch"}),
    execute("object-add", {"qom-type": "iommufd", "id": "a", "fd": "9x"}),
    execute("object-add", {"qom-type": "iommufd", "id": "a", "fd": ""}),
    execute("object-add", {"qom-type": "memory-backend-ram", "id": "m"}), execute("object-add", {**MEMORY, "size": "1M"}),
    execute("object-add", {**MEMORY, "share": "on"}), execute("object-add", {**MEMORY, "policy": "foo"}),
    execute("object-add", {**MEMORY, "prealloc-threads": "1"}), execute("object-add", {**MEMORY, "size": []}),
    execute("object-add", {**MEMORY, "host-nodes": 1}),
    execute("object-add", MEMORY, id=17), execute("object-add", MEMORY), execute("object-add", {"qom-type": "iommufd", "id": "i"}),
    execute("qom-list", {"path": "/objects"}), execute("qom-list", {"path": "/objects/i/nosuch"}),
    execute("qom-get", {"path": "/objects/m", "property": "size"}), execute("qom-get", {"path": "m", "property": "share"}),
    execute("qom-get", {"path": "objects/m", "property": "type"}), execute("qom-get", {"path": "/objects", "property": "m"}),
    execute("qom-get", {"path": "//objects///m/", "property": "policy"}),
    execute("qom-get", {"path": "/objects/m", "property": "nosuch"}), execute("qom-get", {"path": "/objects/i", "property": "fd"}),
    execute("qom-get", {"path": "/nosuch", "property": "m"}), execute("qom-get", {"path": "/objects"}),
    execute("qom-get", {"property": 1, "path": 2}), execute("qom-get", {"path": "/", "property": "type"}),
    execute("qom-list", {"path": ""}), execute("qom-list", {"path": "nosuch"}), execute("qom-list", {}), execute("qom-list", {"path": None}),
    execute("qom-list", {"path": "/machine/peripheral"}), execute("qom-list-types", {"abstract": 1}),
    execute("qom-list-types", {"implements": "nosuch"}), execute("qom-list-types", {"implements": "iommufd"}),
    execute("qom-list-properties", {"typename": "nosuch"}), execute("device-list-properties", {"typename": "nosuch"}),
    execute("device-list-properties", {"typename": "iommufd"}), execute("device-list-properties", {"typename": "device"}),
    execute("object-del", {"id": "i"}), execute("object-del", {"id": "m"}), execute("object-del", {"id": "m"}),
    execute("object-del", {}), execute("object-del", {"id": 1}),
    # Devices.
    execute("device_add"), execute("device_add", {"driver": "nosuch"}), execute("device_add", {"driver": 5}),
    execute("device_add", {"driver": "iommufd", "id": "a"}), execute("device_add", {"driver": "device", "id": "a"}),
    execute("device_del", {"id": "nosuch"}), execute("device_del", {}), execute("device_del", {"id": "/machine/nosuch"}),
    execute("device_del", {"id": "/objects"}),
    # Descriptors.
    execute("getfd", {"fdname": "x"}), execute("getfd", {"fdname": "1x"}), execute("getfd", {}), execute("closefd", {"fdname": "x"}),
    execute("closefd", {}),
]


def descriptor_rounds():
    """Messages, and how many descriptors go with each."""
    get = lambda name: execute("getfd", {"fdname": name})  # noqa: E731
    yield from [(get("x"), 1), (get("x"), 1), (get("y"), 2), (get("z"), 0), (get("1z"), 1), (get("z"), 0), (execute("nosuch"), 1),
                (get("z"), 0), (execute("closefd", {"fdname": "z"}), 0), (execute("closefd", {"fdname": "z"}), 0),
                (execute("closefd", {"fdname": "x"}), 0), (execute("closefd", {"fdname": "y"}), 0), (get(""), 1),
                (execute("closefd", {"fdname": ""}), 0)]


def damaged(rng):
    """A message, or a few, of which some bytes were changed, lost, doubled or put in."""
    # What creates something makes the two differ later on.
    pool = [m for m in CONVERSATION if b"object-add" not in m and b"object-del" not in m and len(m) < 1500]
    data = bytearray(b"".join(rng.choice(pool) for _ in range(rng.randint(1, 3))))
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(4)
        piece = rng.choice([bytes([rng.randrange(256)]), rng.choice(list(map(bytes, zip(b'{}[],:"\'\\ 0-.eu\n'))))])
        if what == 0:
            data[at:at] = piece
        elif what == 1:
            data[at:at + 1] = piece
        elif what == 2:
            del data[at:at + rng.randint(1, 4)]
        else:
            data[at:at] = data[at:at + rng.randint(1, 12)]
    return bytes(data)


def normal(answer):
    for pattern, name in OWN:
        answer = pattern.sub(name, answer)
    return answer


# Which of several members is complained of follows from GLib's hash table in QEMU.
def compare(ours, theirs, data):
    if normal(ours) == normal(theirs):
        return 0
    print(f"to {data!r}\n  QEMU says {theirs!r}\n  iommufd   {ours!r}")
    return 1


def main():
    if not shutil.which(QEMU):
        print(f"skipped: there is no {QEMU} here")
        sys.exit(77)
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3000
    rng = random.Random(seed)
    differences = 0
    with client.serving([QEMU, "-M", "none", "-nodefaults", "-display", "none", "-qmp"]) as their_path, \
            client.serving([sys.argv[1], "run", "--model", "-qmp"]) as our_path:
        both = [client.Client(path) for path in (our_path, their_path)]
        differences += compare(both[0].greeting, both[1].greeting, b"a connection")
        count = 0

        def exchange(data, descriptors=()):
            nonlocal count, differences
            count += 1
            # Ends whatever the message has left open.
            mark = MARK + str(count).encode()
            answers = []
            for one in both:
                one.send(data, descriptors)
                one.send(b'\n\xff\n{"execute":"nosuch","id":"' + mark + b'"}')
                answers.append(one.until(mark))
            differences += compare(*answers, data)

        for data in NEGOTIATION + CONVERSATION:
            exchange(data)
        with open(os.devnull, "rb") as null:
            for data, descriptors in descriptor_rounds():
                exchange(data, [null.fileno()] * descriptors)
        for _ in range(rounds):
            exchange(damaged(rng))
            if differences > 10:
                break
        # The last words.
        for one in both:
            one.send(execute("quit", id=3))
        answers = [one.line() + one.line() + one.line() for one in both]
        differences += compare(*answers, b"quit")
    print(f"{count} exchanges, {differences} differences (seed {seed})")
    sys.exit(differences != 0)


if __name__ == "__main__":
    main()
