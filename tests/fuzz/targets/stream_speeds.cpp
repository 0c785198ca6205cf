#include "runtime/device/stream_speeds.hpp"

#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_stream_speeds(std::string_view bytes) {
  const runtime::device::StreamSpeeds s = runtime::device::parse_stream_speeds(bytes, "fuzz").speeds;
  for (const double speed :
       {s.link_bytes_per_s, s.device_bytes_per_s, s.device_macs_per_s, s.host_bytes_per_s, s.host_macs_per_s})
    require(speed > 0 && speed < 1e17, "a speed");
}

std::vector<std::string> fuzz_stream_speeds_seeds() {
  return {R"({"dodeca_stream_speeds":1,"machine":"AuthenticAMD 25/17, 64 threads, a card","types":"Q2_K 2048x7168",)"
          R"("link_gb_s":25.1,"device_gb_s":640,"device_gmac_s":21000,"host_gb_s":290.5,"host_gmac_s":4800})"};
}

}  // namespace dodeca::tests
