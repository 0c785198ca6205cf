# test_fuzz tests the fuzzer; fuzz runs it (tests/run.sh: with sanitizers); libfuzzer is for hunt.sh, by clang alone.
file(GLOB fuzz_sources CONFIGURE_DEPENDS fuzz/targets/*.cpp)
add_library(fuzz_targets STATIC EXCLUDE_FROM_ALL fuzz/target.cpp fuzz/mutator.cpp fuzz/driver.cpp ${fuzz_sources})
if(DODECA_SANITIZE)
  # Of the folders above runtime/model only what reads: the whole folders take minutes to build with sanitizers.
  file(GLOB batch_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/batch/*.cpp)
  file(GLOB cache_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/runtime/exec/kv_cache*.cpp
       ${PROJECT_SOURCE_DIR}/runtime/exec/block_table.cpp ${PROJECT_SOURCE_DIR}/runtime/exec/layer_store.cpp
       ${PROJECT_SOURCE_DIR}/runtime/cli/prompt_cache*.cpp)
  set(reader_sources sample/sample_rows.cpp sample/sampler.cpp sample/scanned_logits.cpp engine/engine.cpp engine/engine_drafts.cpp engine/draft_control.cpp
      engine/draft_trail.cpp engine/stop_matcher.cpp eval/log_probs.cpp
      eval/logits_file.cpp plan/tuning_file.cpp device/stream_speeds.cpp predict/machine_spec.cpp predict/machine_file.cpp quantize/recipe_file.cpp quantize/type_override.cpp
      allocate/sensitivity_file.cpp)
  list(TRANSFORM reader_sources PREPEND ${PROJECT_SOURCE_DIR}/runtime/)
  add_library(fuzz_readers STATIC EXCLUDE_FROM_ALL ${batch_sources} ${cache_sources} ${reader_sources})
  target_link_libraries(fuzz_readers PUBLIC dodeca_runtime_model dodeca_runtime_text dodeca_cpu PRIVATE dodeca_flags)
  dodeca_unity(fuzz_readers)
  set_source_files_properties(${batch_sources} PROPERTIES UNITY_GROUP batch)  # names of several folders may be equal
  set_target_properties(fuzz_readers PROPERTIES UNITY_BUILD_MODE GROUP)
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
