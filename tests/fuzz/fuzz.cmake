# test_fuzz tests the fuzzer; fuzz runs it (tests/run.sh: with sanitizers); libfuzzer is for hunt.sh, by clang alone.
file(GLOB fuzz_sources CONFIGURE_DEPENDS fuzz/targets/*.cpp)
add_library(fuzz_targets STATIC EXCLUDE_FROM_ALL fuzz/target.cpp fuzz/mutator.cpp fuzz/driver.cpp ${fuzz_sources})
if(DODECA_SANITIZE)
  # Of the folders above runtime/model only what reads: the whole folders take minutes to build with sanitizers.
  file(GLOB fuzz_readers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
    ${PROJECT_SOURCE_DIR}/runtime/batch/*.cpp ${PROJECT_SOURCE_DIR}/runtime/exec/kv_cache*.cpp
    ${PROJECT_SOURCE_DIR}/runtime/cli/prompt_cache*.cpp)
  list(APPEND fuzz_readers runtime/sample/sampler.cpp runtime/engine/engine.cpp runtime/engine/stop_matcher.cpp
    runtime/eval/log_probs.cpp runtime/eval/logits_file.cpp runtime/plan/tuning_file.cpp
    runtime/quantize/recipe_file.cpp runtime/quantize/type_override.cpp runtime/allocate/sensitivity_file.cpp)
  list(TRANSFORM fuzz_readers PREPEND ${PROJECT_SOURCE_DIR}/)
  add_library(fuzz_readers STATIC EXCLUDE_FROM_ALL ${fuzz_readers})
  target_link_libraries(fuzz_readers PUBLIC dodeca_runtime_model dodeca_runtime_text dodeca_cpu PRIVATE dodeca_flags dodeca_reader_flags)
  target_link_libraries(fuzz_targets PUBLIC fuzz_readers)
else()
  target_link_libraries(fuzz_targets PUBLIC dodeca_runtime_cli)
endif()
target_link_libraries(fuzz_targets PRIVATE dodeca_flags)
target_compile_options(fuzz_targets PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)
dodeca_unity(fuzz_targets)

dodeca_test(fuzz fuzz_targets)
add_executable(fuzz EXCLUDE_FROM_ALL fuzz/main.cpp support/tiny_gguf.cpp)
target_link_libraries(fuzz PRIVATE fuzz_targets dodeca_flags)
if(DODECA_SANITIZE MATCHES fuzzer)
  add_executable(libfuzzer EXCLUDE_FROM_ALL fuzz/libfuzzer.cpp support/tiny_gguf.cpp)
  target_link_libraries(libfuzzer PRIVATE fuzz_targets dodeca_flags -fsanitize=fuzzer)
endif()
