# A layer is a folder of src/:
# iommufd_layer(NAME [BELOW LAYER...] [TESTED_ON LAYER...] [FAILS_ALLOCATIONS] [LIBRARIES TARGET...]).
#
# It becomes an object library layer_NAME of all its *.cpp files, and, where it has *_test.cpp files, a
# test program NAME_test. Which layers a layer may include is checked by tests/layers.

set(IOMMUFD_SANITIZE "" CACHE STRING "Sanitizers: address,undefined or thread")

add_library(iommufd_flags INTERFACE)
target_compile_options(iommufd_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_options(iommufd_flags INTERFACE -Wthread-safety -Wno-gnu-zero-variadic-macro-arguments)
else()
    target_compile_options(iommufd_flags INTERFACE -Wno-missing-field-initializers)
    # It joins stores of 8 bytes into loads of 16, which wait for them: 6 % of a map and unmap.
    target_compile_options(iommufd_flags INTERFACE -fno-tree-slp-vectorize)
    # At -O3, GCC 12 sees overlaps within std::string that are none.
    target_compile_options(iommufd_flags INTERFACE $<$<CONFIG:Release>:-Wno-restrict>)
endif()
target_compile_options(iommufd_flags INTERFACE -Wno-missing-field-initializers)
if(IOMMUFD_WERROR)
    target_compile_options(iommufd_flags INTERFACE -Werror)
endif()
if(IOMMUFD_SANITIZE)
    target_compile_options(iommufd_flags INTERFACE -fsanitize=${IOMMUFD_SANITIZE} -fno-omit-frame-pointer
        -fno-sanitize-recover=all)
    target_link_options(iommufd_flags INTERFACE -fsanitize=${IOMMUFD_SANITIZE})
endif()

function(iommufd_layer name)
    cmake_parse_arguments(PARSE_ARGV 1 layer "FAILS_ALLOCATIONS" "" "BELOW;TESTED_ON;LIBRARIES")
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
    set(tests ${sources})
    list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
    list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
    if(sources)
        add_library(layer_${name} OBJECT ${sources})
        target_include_directories(layer_${name} PUBLIC
            $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
        target_link_libraries(layer_${name} PRIVATE iommufd_flags PUBLIC Threads::Threads ${layer_LIBRARIES})
        set_property(GLOBAL APPEND PROPERTY IOMMUFD_LAYERS ${name})
    endif()
    set_property(GLOBAL PROPERTY IOMMUFD_BELOW_${name} ${layer_BELOW})
    if(tests AND IOMMUFD_TESTS AND BUILD_TESTING)
        # replaces operator new, so that a test can fail allocations
        if(layer_TESTED_ON OR layer_FAILS_ALLOCATIONS)
            list(APPEND tests ${PROJECT_SOURCE_DIR}/tests/support/allocation_faults.cpp)
        endif()
        iommufd_test(${name}_test SOURCES ${tests} LAYERS ${name} ${layer_BELOW} ${layer_TESTED_ON})
    endif()
endfunction()

# Links a program with the objects of some layers, each once.
function(iommufd_link target)
    set(layers ${ARGN})
    list(REMOVE_DUPLICATES layers)
    foreach(layer IN LISTS layers)
        if(TARGET layer_${layer})
            target_link_libraries(${target} PRIVATE layer_${layer})
        endif()
    endforeach()
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
        ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${target} PRIVATE iommufd_flags Threads::Threads)
endfunction()

# A program of GoogleTest cases, each of which ctest runs and counts.
function(iommufd_test name)
    cmake_parse_arguments(PARSE_ARGV 1 test "KERNEL" "" "SOURCES;LAYERS;LIBRARIES")
    find_package(GTest REQUIRED)
    include(GoogleTest)
    add_executable(${name} ${test_SOURCES})
    iommufd_link(${name} ${test_LAYERS})
    target_link_libraries(${name} PRIVATE GTest::gmock GTest::gtest_main ${test_LIBRARIES})
    target_compile_options(${name} PRIVATE -Wno-dangling-else) # GoogleTest's macros have an else of their own
    if(NOT test_KERNEL)
        gtest_discover_tests(${name} TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120)
    endif()
endfunction()
