// Streams, events, graphs and flags as the interface promises them, and programs that forget to wait.
#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "gpu/kernels/add_rows.hpp"
#include "quant/float_types.hpp"
#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

using emulation::EmulatedDevice, emulation::EmulationOptions, emulation::Streams;

namespace {

constexpr int kWidth = 64;

void add(Device& device, const Stream& stream, float* out, const float* in) {
  const AddRowsArgs args{.out = out, .in = in, .out_stride = kWidth, .in_stride = kWidth, .n_rows = 1, .width = kWidth};
  device.launch<KernelId::add_rows>(stream, add_rows_grid(args), args);
}

// Copies ones in one stream and adds them to zeros in another, which waits for the copy or does not.
float sum_of_two_streams(Device& device, bool waits) {
  const PinnedMemory pinned = device.allocate_pinned(kWidth * sizeof(float));  // copies of other memory wait
  auto* ones = reinterpret_cast<float*>(pinned.data());
  std::fill_n(ones, kWidth, 1.0f);
  const Stream copies = device.make_stream(), kernels = device.make_stream();
  const Event copied = device.make_event();
  const DeviceMemory in = device.allocate(kWidth * sizeof(float)), out = device.allocate(kWidth * sizeof(float));
  std::vector<float> result(kWidth);
  device.fill(kernels, out.data(), 0, out.bytes());
  device.copy_to_device(copies, in.data(), ones, in.bytes());
  device.record(copied, copies);
  if (waits) device.wait(kernels, copied);
  add(device, kernels, reinterpret_cast<float*>(out.data()), reinterpret_cast<const float*>(in.data()));
  device.copy_to_host(kernels, result.data(), out.data(), out.bytes());
  device.synchronize(kernels);
  return result[0];
}

}  // namespace

TEST_CASE("a stream that does not wait for another finds poison, one that waits does not") {
  CHECK(sum_of_two_streams(*emulation::open_emulation(), true) == 1.0f);
  CHECK(std::isnan(sum_of_two_streams(*emulation::open_emulation(), false)));
  for_each_emulation([](Device& device) { CHECK(sum_of_two_streams(device, true) == 1.0f); });
  CHECK(sum_of_two_streams(*emulation::open_emulation({.streams = Streams::kEager}), false) == 1.0f);
}

TEST_CASE("what the host does not wait for has not happened") {
  const auto device = emulation::open_emulation();
  const Stream stream = device->make_stream();
  const Event event = device->make_event();
  CHECK(device->finished(event));  // never recorded
  const DeviceMemory memory = device->allocate(4);
  const PinnedMemory pinned = device->allocate_pinned(8);
  auto* words = reinterpret_cast<std::uint32_t*>(pinned.data());
  std::uint32_t &before = words[0], &after = words[1];
  before = 5;
  after = 6;
  device->copy_to_device(stream, memory.data(), &before, 4);
  device->copy_to_host(stream, &after, memory.data(), 4);
  device->record(event, stream);
  CHECK(after == 6);
  before = 7;  // which the interface forbids: the copy was not done
  CHECK_FALSE(device->finished(event));
  device->synchronize(stream);
  CHECK(device->finished(event));
  CHECK(after == 7);
}

TEST_CASE("copies of memory that is not pinned are done when they return, and cannot be captured") {
  const auto device = emulation::open_emulation({.stuck_seconds = 0.1});
  const Stream stream = device->make_stream();
  const DeviceMemory memory = device->allocate(4);
  std::uint32_t before = 5, after = 6;
  device->copy_to_device(stream, memory.data(), &before, 4);
  device->copy_to_host(stream, &after, memory.data(), 4);
  CHECK(after == 5);
  const PinnedMemory flag = device->allocate_pinned(sizeof(Flag));
  device->wait_flag(stream, reinterpret_cast<Flag*>(flag.data()), 1);
  CHECK_THROWS(device->copy_to_host(stream, &after, memory.data(), 4));  // it waits for what only we could set
  write_flag(reinterpret_cast<Flag*>(flag.data()), 1);
  device->synchronize(stream);
  device->begin_capture(stream);
  CHECK_THROWS(device->copy_to_host(stream, &after, memory.data(), 4));
  device->end_capture(stream);
}

TEST_CASE("what is freed or closed is first done") {
  const auto device = emulation::open_emulation();
  std::uint32_t word = 0;
  {
    const Stream stream = device->make_stream();
    const DeviceMemory memory = device->allocate(4);
    device->fill(stream, memory.data(), 1, 4);
    device->copy_to_host(stream, &word, memory.data(), 4);
  }
  CHECK(word == 0x01010101u);
}

TEST_CASE("copies out of bounds, and between host and device the wrong way round, are refused") {
  const auto device = emulation::open_emulation();
  const Stream stream = device->make_stream();
  const DeviceMemory memory = device->allocate(100);
  std::byte host[128];
  CHECK_THROWS_WITH(device->copy_to_device(stream, memory.data() + 4, host, 100),
                    doctest::Contains("100 bytes from byte 4 of an allocation of 100 bytes"));
  CHECK_THROWS_WITH(device->copy_to_host(stream, memory.data(), host, 100), doctest::Contains("copy_to_host"));
  CHECK_THROWS_WITH(device->copy_to_device(stream, memory.data(), memory.data(), 4),
                    doctest::Contains("memory of the device stands for memory of the host"));
  CHECK_THROWS_WITH(device->fill(stream, memory.data() + 100, 0, 1), doctest::Contains("0 bytes behind"));
}

TEST_CASE("a graph keeps what two streams were given, and does it at every launch") {
  for_each_emulation([](Device& device) {
    const Stream main = device.make_stream(), side = device.make_stream();
    const Event forked = device.make_event(), joined = device.make_event();
    OnDevice<float> sum(device, std::vector<float>(kWidth, 0.0f)), one(device, std::vector<float>(kWidth, 1.0f)),
        copy(device, std::vector<float>(kWidth, 0.0f));

    device.begin_capture(main);
    add(device, main, sum.data(), one.data());
    device.record(forked, main);
    device.wait(side, forked);
    device.copy_on_device(side, copy.data(), sum.data(), kWidth * sizeof(float));
    device.record(joined, side);
    device.wait(main, joined);
    add(device, main, sum.data(), copy.data());
    const Graph graph = device.end_capture(main);
    CHECK(sum.values()[0] == 0.0f);

    float wanted = 0.0f;  // s becomes 2 (s + 1)
    for (int launch = 0; launch < 4; ++launch) {
      device.launch(main, graph);
      wanted = 2 * (wanted + 1);
    }
    CHECK(sum.values()[kWidth - 1] == wanted);
    device.launch(main, graph);
    CHECK(sum.values()[0] == 2 * (wanted + 1));
  });
}

TEST_CASE("captures that a card refuses are refused") {
  const auto device = emulation::open_emulation();
  const Stream main = device->make_stream(), side = device->make_stream();
  const Event event = device->make_event();
  const DeviceMemory memory = device->allocate(16);
  CHECK_THROWS_WITH(device->end_capture(main), doctest::Contains("did not begin"));
  device->begin_capture(main);
  CHECK_THROWS_WITH(device->begin_capture(side), doctest::Contains("captured already"));
  CHECK_THROWS_WITH(device->synchronize(main), doctest::Contains("while a stream is captured"));
  device->record(event, main);
  device->wait(side, event);
  device->fill(side, memory.data(), 0, 16);
  CHECK_THROWS_WITH(device->end_capture(main), doctest::Contains("not joined"));
  device->record(event, side);
  device->begin_capture(main);
  CHECK_THROWS_WITH(device->wait(main, event), doctest::Contains("recorded before the capture"));
}

TEST_CASE("host and device meet through flags") {
  for_each_emulation([](Device& device) {
    const Stream stream = device.make_stream();
    const PinnedMemory pinned = device.allocate_pinned(4096);
    auto* const flags = reinterpret_cast<Flag*>(pinned.data());
    auto* const rows = reinterpret_cast<float*>(pinned.data() + 1024);
    OnDevice<float> sum(device, std::vector<float>(kWidth, 1.0f)), in(device, kWidth);
    Flag *const to_host = flags, *const to_device = flags + 16;
    // The device gives its sum, the host twice that, the device adds it.
    for (std::uint32_t round = 1; round <= 3; ++round) {
      device.copy_to_host(stream, rows, sum.data(), kWidth * sizeof(float));
      device.signal(stream, to_host, round);
      device.wait_flag(stream, to_device, round);
      device.copy_to_device(stream, in.data(), rows, kWidth * sizeof(float));
      add(device, stream, sum.data(), in.data());
    }
    for (std::uint32_t round = 1; round <= 3; ++round) {
      device.host_wait(to_host, round, 10);
      CHECK(rows[5] == std::pow(3.0f, static_cast<float>(round - 1)));
      for (int i = 0; i < kWidth; ++i) rows[i] *= 2;
      write_flag(to_device, round);
    }
    device.synchronize(stream);
    CHECK(sum.values()[kWidth - 1] == 27.0f);
  });
}

TEST_CASE("another thread of the host sets the flag that a stream waits for") {
  const auto device = emulation::open_emulation();
  const Stream stream = device->make_stream();
  const PinnedMemory pinned = device->allocate_pinned(sizeof(Flag));
  auto* const flag = reinterpret_cast<Flag*>(pinned.data());
  device->wait_flag(stream, flag, 1);
  std::thread other([flag] { write_flag(flag, 2); });
  device->synchronize(stream);
  other.join();
  CHECK(read_flag(flag) == 2);
}

TEST_CASE("a flag that nobody sets is an error, not a wait for ever") {
  const auto device = emulation::open_emulation({.stuck_seconds = 0.01});
  const Stream stream = device->make_stream();
  const PinnedMemory pinned = device->allocate_pinned(sizeof(Flag));
  auto* const flag = reinterpret_cast<Flag*>(pinned.data());
  CHECK_THROWS_WITH(device->host_wait(flag, 1, 0.01), doctest::Contains("a flag that the device does not set"));
  device->wait_flag(stream, flag, 1);
  CHECK_THROWS_WITH(device->synchronize(stream), doctest::Contains("a flag which nobody sets"));
  write_flag(flag, 1);
  device->synchronize(stream);
  CHECK(has_reached(0x00000001u, 0xffffffffu));
  CHECK_FALSE(has_reached(0xffffffffu, 0x00000001u));
}

TEST_CASE("the emulation multiplies BF16 matrices as the library of a card") {
  const auto device = emulation::open_emulation();
  const int m = 3, n = 5, k = 7;
  std::vector<std::uint16_t> a(m * k), b(n * k);
  for (int i = 0; i < m * k; ++i) a[i] = quant::f32_to_bf16(static_cast<float>(i % 11 - 5));
  for (int i = 0; i < n * k; ++i) b[i] = quant::f32_to_bf16(static_cast<float>(i % 7 - 3));
  std::vector<float> wanted(m * n);
  for (int row = 0; row < m; ++row)
    for (int column = 0; column < n; ++column)
      for (int i = 0; i < k; ++i)
        wanted[row * n + column] += static_cast<float>(((row * k + i) % 11 - 5) * ((column * k + i) % 7 - 3));
  OnDevice<std::uint16_t> device_a(*device, a), device_b(*device, b);
  OnDevice<float> c(*device, wanted.size());
  device->multiply(c.stream(), {.a = device_a.data(), .b = device_b.data(), .c = c.data(), .m = m, .n = n, .k = k});
  CHECK(c.values() == wanted);
}

}  // namespace dodeca::gpu
