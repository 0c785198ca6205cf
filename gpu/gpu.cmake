# The library dodeca_gpu: the device's interface, the emulation with the kernels compiled for the host, and for cards
# gpu/cuda or gpu/none. The sources of kernels are one for both compilers (gpu/kernels/dialect.hpp).
dodeca_library(dodeca_gpu gpu EXCLUDE "/gpu/(cuda|none)/|/checked/" PUBLIC dodeca_quant)

# A .cpp file for each kernel source: the same source is also one of CUDA's, and has one language in CMake. g++ 12 fuses
# products and sums that it vectorizes in straight code (vfmaddsub), whatever -ffp-contract says.
file(GLOB kernel_sources CONFIGURE_DEPENDS gpu/kernels/*.cu)
function(dodeca_kernels_for_host target)
  foreach(source IN LISTS ARGN)
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${source})
    string(REGEX REPLACE "\\.cu$" ".cpp" host_source ${PROJECT_BINARY_DIR}/generated/${target}/${path})
    file(CONFIGURE OUTPUT ${host_source} CONTENT "#include \"${path}\"\n" @ONLY)
    set_source_files_properties(${host_source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON
      COMPILE_OPTIONS "-Wno-unknown-pragmas;-fno-tree-slp-vectorize")
    target_sources(${target} PRIVATE ${host_source})
  endforeach()
endfunction()
dodeca_kernels_for_host(dodeca_gpu ${kernel_sources})

# Kernels whose every access is observed, for tests (gpu/emulation/checked/checked.hpp). These files have no other
# sanitizer, which does not go together.
add_library(dodeca_observed_kernels INTERFACE)
target_include_directories(dodeca_observed_kernels INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
target_compile_options(dodeca_observed_kernels INTERFACE -Wall -Wextra -ffp-contract=off -march=$<IF:$<BOOL:${DODECA_SCALAR_ONLY}>,x86-64,x86-64-v3>
  -O1 -fsanitize=thread --param=tsan-instrument-func-entry-exit=0)
target_compile_definitions(dodeca_observed_kernels INTERFACE DODECA_CHECKED_KERNELS=1)
add_library(dodeca_checked_kernels OBJECT EXCLUDE_FROM_ALL)
dodeca_kernels_for_host(dodeca_checked_kernels ${kernel_sources})
target_link_libraries(dodeca_checked_kernels PRIVATE dodeca_observed_kernels)
file(GLOB checked_sources CONFIGURE_DEPENDS gpu/emulation/checked/*.cpp)
add_library(dodeca_gpu_checked STATIC EXCLUDE_FROM_ALL ${checked_sources} $<TARGET_OBJECTS:dodeca_checked_kernels>)
target_link_libraries(dodeca_gpu_checked PUBLIC dodeca_gpu PRIVATE dodeca_flags)

# Cards.
include(gpu/cuda.cmake)
if(cuda_missing)
  target_sources(dodeca_gpu PRIVATE gpu/none/cards_none.cpp)
else()
  file(GLOB card_sources CONFIGURE_DEPENDS gpu/cuda/*.cpp)
  target_sources(dodeca_gpu PRIVATE ${card_sources} ${cuda_objects})
  # A header that includes all that describe kernels' arguments, for their sizes.
  file(GLOB kernel_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} gpu/kernels/*.hpp)
  list(FILTER kernel_headers EXCLUDE REGEX "/(dialect|tensor)\\.hpp$")  # for kernels alone
  set(all_args "#pragma once\n")
  foreach(header IN LISTS kernel_headers)
    string(APPEND all_args "#include \"${header}\"\n")
  endforeach()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/gpu/kernels/all_args.hpp CONTENT "${all_args}" @ONLY)
  set_source_files_properties(${card_sources} PROPERTIES COMPILE_DEFINITIONS "DODECA_CUDA_BUILT=\"${DODECA_CUDA_BUILT}\"")
  target_include_directories(dodeca_gpu SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(dodeca_gpu PRIVATE CUDA::cudart_static)
endif()
