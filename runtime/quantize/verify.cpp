#include "runtime/quantize/verify.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cmath>

#include "quant/codec.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/quantize/waves.hpp"

namespace dodeca::runtime::quantize {
namespace {

// What was written is in memory still; the disk is asked, not that. Systems that do not follow advice lose nothing but
// the test of the disk.
void forget_cached(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

const GgufTensor& written_tensor(const GgufFile& file, const OutputTensor& tensor) {
  const GgufTensor* there = file.find(tensor.name);
  if (there == nullptr || there->dtype != tensor.dtype || there->dims != tensor.dims)
    throw Error(ErrorKind::kBadFile, fmt::format("tensor {} is not in the new file as it was written", tensor.name))
        .with("file", file.files().front().path().string());
  return *there;
}

void compare(const WeightSource& source, const OutputTensor& tensor, const std::byte* written, Unit& unit,
             MemberState& state) {
  if (tensor.as_is != nullptr) return;
  read_values(source, tensor, unit, state);
  std::vector<float> row(static_cast<std::size_t>(tensor.n_in()));
  const float* original = state.values.data();
  for (std::int64_t r = unit.row_begin; r < unit.row_end; ++r, written += tensor.row_bytes(), original += row.size()) {
    quant::decode_row(tensor.dtype, written, row.data(), tensor.n_in());
    for (std::size_t i = 0; i < row.size(); ++i) {
      const double value = original[i], error = row[i] - value;
      unit.square_error += error * error;
      unit.square += value * value;
    }
  }
}

}  // namespace

double VerifiedTensor::relative_error() const { return square_error == 0 ? 0.0 : std::sqrt(square_error / square); }

Verification verify(const WeightSource& source, const QuantizePlan& plan, const QuantizeResult& result, cpu::Team& team,
                    const Progress& progress, bool low_memory) {
  for (const GgufWriter::File& file : result.files) forget_cached(file.path);
  const GgufFile file = GgufFile::open(result.files.front().path);
  std::vector<const GgufTensor*> written;
  for (const OutputTensor& tensor : plan.tensors) written.push_back(&written_tensor(file, tensor));

  Verification out;
  out.tensors.resize(plan.tensors.size());
  Checksum whole, current;
  std::uint64_t at = 0;  // bytes of the current tensor
  const auto make = [&](Unit& unit, MemberState& state, std::byte* bytes) {
    const OutputTensor& tensor = plan.tensors[unit.tensor];
    const auto first = static_cast<std::uint64_t>(unit.slice * tensor.rows_per_slice() + unit.row_begin);
    file.read(*written[unit.tensor], first * tensor.row_bytes(), {bytes, unit.bytes});
    compare(source, tensor, bytes, unit, state);
  };
  const auto take = [&](const Unit& unit, std::span<const std::byte> bytes) {
    VerifiedTensor& tensor = out.tensors[unit.tensor];
    tensor.square_error += unit.square_error;
    tensor.square += unit.square;
    current.add(bytes);
    at += bytes.size();
    if (at < plan.tensors[unit.tensor].bytes()) return;
    const std::uint64_t checksum = current.value();
    tensor.intact = checksum == result.checksums[unit.tensor];
    whole.add(std::as_bytes(std::span(&checksum, 1)));
    current = Checksum();
    at = 0;
  };
  run_waves(plan.tensors, 0, low_memory, team, {make, take}, progress);
  out.checksum = whole.value();
  return out;
}

}  // namespace dodeca::runtime::quantize
