# The library dodeca_gpu: the device's interface, the emulation with the kernels compiled for the host, and for cards
# gpu/cuda or gpu/none. The sources of kernels are one for both compilers (gpu/kernels/dialect.hpp).
dodeca_library(dodeca_gpu gpu EXCLUDE "/gpu/(cuda|checked)/" PUBLIC dodeca_quant)

# A .cpp file for each kernel source: the same source is also one of CUDA's, and has one language in CMake.
file(GLOB kernel_sources CONFIGURE_DEPENDS gpu/kernels/*.cu)
function(dodeca_kernels_for_host target)
  foreach(source IN LISTS ARGN)
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${source})
    string(REGEX REPLACE "\\.cu$" ".cpp" host_source ${PROJECT_BINARY_DIR}/generated/${path})
    file(CONFIGURE OUTPUT ${host_source} CONTENT "#include \"${path}\"\n" @ONLY)
    target_sources(${target} PRIVATE ${host_source})
    # GCC 12 fuses products with sums of straight code in spite of -ffp-contract=off, and does not know `#pragma unroll`.
    set_source_files_properties(${host_source} PROPERTIES COMPILE_OPTIONS "-fno-tree-slp-vectorize;-Wno-unknown-pragmas")
  endforeach()
endfunction()
dodeca_kernels_for_host(dodeca_gpu ${kernel_sources})

include(gpu/cuda.cmake)
