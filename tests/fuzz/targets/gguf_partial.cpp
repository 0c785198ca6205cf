// An unfinished GGUF and its log, as a killed run left them: data and log of others must never be trusted.
#include "runtime/load/gguf.hpp"
#include "runtime/load/write_log.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {
namespace {

constexpr const char* kOutput = "out.gguf";
const std::string kPartial = "out.gguf.partial", kLog = "out.gguf.partial.log";
constexpr std::string_view kIdentity = "a source";

std::unique_ptr<runtime::GgufWriter> begin(bool restart) {
  runtime::Metadata metadata;
  metadata.set("general.name", std::string("n"));
  using Spec = runtime::GgufWriter::TensorSpec;
  return std::make_unique<runtime::GgufWriter>(
      scratch_folder() / kOutput, metadata,
      std::vector<Spec>{{"a", quant::DType::kF32, {4}}, {"b", quant::DType::kF32, {2, 3}}}, kIdentity,
      runtime::SplitLimits{}, restart);
}

}  // namespace

void fuzz_gguf_partial(std::string_view bytes) {
  const auto files = split_files(bytes, 2);
  const std::filesystem::path log = put_file(kLog, files[0]);
  put_file(kPartial, files.size() > 1 ? files[1] : "");
  const std::optional<runtime::LoggedWork> logged = runtime::read_write_log(log);
  require(!logged || logged->tensors.size() <= files[0].size(), "more tensors than bytes");
  const auto writer = begin(false);
  require(writer->finished_tensors() <= 2, "finished tensors");
  const std::vector<std::byte> data(24, std::byte{7});
  for (std::size_t tensor = writer->finished_tensors(); tensor < 2; ++tensor)
    writer->append(std::span(data).first(tensor == 0 ? 16 : 24));
  writer->finish();
  runtime::GgufFile::open(scratch_folder() / kOutput);
}

std::vector<std::string> fuzz_gguf_partial_seeds() {
  {
    const auto writer = begin(true);
    writer->append(std::vector<std::byte>(16, std::byte{7}));
  }
  const std::string log = read_bytes(scratch_folder() / kLog), partial = read_bytes(scratch_folder() / kPartial);
  return {join_files({log, partial}), join_files({log.substr(0, log.find('\n') + 1), partial})};
}

}  // namespace dodeca::tests
