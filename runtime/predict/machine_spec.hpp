// A machine or a card by its figures, as its maker states them, as somebody measured them or as we assume them: what a
// prediction is made of. Every figure knows where it comes from.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"
#include "runtime/plan/machine.hpp"

namespace dodeca::runtime::predict {

// What releases a barrier is seen by all about so many hand-overs of a cache line later.
inline constexpr double kReleaseHandOvers = 2;

enum class Evidence : std::uint8_t { kUnknown, kVendor, kMeasured, kPublished, kComputed, kAssumed };
std::string_view name_of(Evidence evidence);  // "measured", as in files

struct Figure {
  double value = 0;
  Evidence evidence = Evidence::kUnknown;
  std::string source = {};  // one line

  bool known() const { return evidence != Evidence::kUnknown; }
};
inline Figure measured(double value, std::string_view how) { return {value, Evidence::kMeasured, std::string(how)}; }
inline Figure computed(double value, std::string_view how) { return {value, Evidence::kComputed, std::string(how)}; }

// How fast one thread multiplies weights that lie in its cache.
struct KernelRates {
  struct Type {
    double one_row = 0;     // weights per ns, one activation row
    double eight_rows = 0;  // products per ns, 8 rows
    double many_rows = 0;   // products per ns, 128 rows
  };
  // Latent attention at DeepSeek-V3's sizes (128 heads, 512 + 64 values a row) over 256 positions, in us.
  struct Attention {
    double load = 0;    // of the rows
    double attend = 0;  // 128 heads of a generated row, absorbed
    double make = 0;    // keys and values of one head
    double prompt = 0;  // 512 prompt rows of one head, decompressed
  };
  std::string name;
  double clock_ghz = 0;  // while it was measured
  Figure origin;         // no value: where the rates come from
  std::map<quant::DType, Type> types;
  Attention words, bytes;  // caches of f16, bf16, q8_0; of i8

  // ns that one thread needs for a weight and n rows; nothing where the type was not measured.
  std::optional<double> ns_per_weight(quant::DType type, double n_rows, double at_clock_ghz) const;
};

// The same machine with so many threads, measured.
struct MeasuredTeam {
  int n_threads = 0;
  double read_gb_s = 0, barrier_us = 0;
};

struct MachineSpec {
  std::string name, title;
  cpu::Isa isa;
  KernelRates rates;
  Figure sockets, nodes_per_socket, complexes, cores_per_complex;  // complexes (of cores that share an L3) of a socket
  Figure clock_ghz;                                                // of all cores at vector products
  Figure channels, mt_per_s, read_share;                           // of a socket; of the theoretical bandwidth
  Figure complex_gb_s, core_gb_s;                                  // what one complex and one core can read
  Figure link_count, link_gt_s, link_lanes;  // links between two sockets, GT/s and lanes of one, in one direction
  Figure link_share;                         // of what the links could carry, what reading over them reaches
  Figure socket_link_gb_s;                   // read over all of them, measured: takes the place of those four
  Figure near_ns, far_ns;                    // handing over a cache line within a complex and between complexes
  Figure socket_ns;                          // and between sockets; not known: as between complexes
  Figure tdp_watts, memory_watts;            // of a socket; of a channel's modules
  Figure memory_gib;                         // of the machine
  Figure read_gb_s;                          // measured: takes the place of channels, mt_per_s and read_share
  Figure barrier_us;                         // of all cores, measured: takes the place of near_ns and far_ns
  std::vector<MeasuredTeam> teams = {};      // by threads, ascending

  int n_complexes() const { return static_cast<int>(sockets.value * complexes.value); }
  int n_cores() const { return n_complexes() * static_cast<int>(cores_per_complex.value); }
  int n_nodes() const { return static_cast<int>(sockets.value * nodes_per_socket.value); }
  double theoretical_gb_s() const { return sockets.value * channels.value * mt_per_s.value * 8 / 1000; }
  // What one socket reads from the others, GB/s.
  double link_gb_s() const {
    return socket_link_gb_s.known() ? socket_link_gb_s.value
                                    : link_count.value * link_gt_s.value * link_lanes.value / 8 * link_share.value;
  }
  // Handing over a cache line between the cores that are farthest apart.
  double farthest_ns() const { return sockets.value > 1 && socket_ns.known() ? socket_ns.value : far_ns.value; }
  // Read by n threads from memory that lies on all nodes alike (interleaved), so that with several sockets most of what
  // a socket reads crosses the links.
  double read_bandwidth(int n_threads) const;  // bytes per second
  // What memory alone would give them: links of complexes and cores may give less. The same where teams were measured.
  double memory_bandwidth(int n_threads) const;
  double barrier_seconds(int n_threads) const;
  // As a plan knows it. What is available is a little less than memory_gib; where that is not known, as much as anyone
  // asks for.
  Machine machine() const;
};

struct CardSpec {
  std::string name, title;
  Figure memory_gib, multiprocessors;
  Figure gb_per_s, read_share;       // of its memory; what products read of it
  Figure f16_tflops, compute_share;  // of the tensor cores; what products of many rows reach of it
  Figure int8_tops, int8_share;  // the same of 8-bit integers, by which types of blocks are multiplied; may be unknown
  Figure link_gb_s, link_share;  // one direction; what copies reach
  Figure round_trip_us, launch_us;  // of two flags through pinned memory; from kernel to kernel in a graph
  Figure tdp_watts;

  Machine::Device device() const;
  // Multiply-accumulates per second: of float16, and of weights with many rows (as float16 where nobody knows better).
  double f16_macs() const { return 0.5e12 * f16_tflops.value * compute_share.value; }
  double weight_macs() const {
    return int8_tops.known() && int8_share.known() ? 0.5e12 * int8_tops.value * int8_share.value : f16_macs();
  }
  double link_bytes_per_s() const { return 1e9 * link_gb_s.value * link_share.value; }
  double read_bytes_per_s() const { return 1e9 * gb_per_s.value * read_share.value; }
};

}  // namespace dodeca::runtime::predict
