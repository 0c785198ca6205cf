#include "runtime/cli/console.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime/base/error.hpp"
#include "runtime/base/file_error.hpp"
#include "runtime/cli/options.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr double kPlainLineSeconds = 30.0, kRedrawSeconds = 0.1;

// Set by a handler on any thread, read by members of teams.
std::atomic<int> stop_flag = 0;
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_stop_signal(int signal) {
  if (stop_flag.exchange(signal, std::memory_order_relaxed) == signal) _exit(128 + signal);
}

// Whole lines in one write, so that lines of several processes on one terminal stay whole.
void print_err(std::string_view line) {
  const std::string text = std::string(line) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

void Console::add_flags(Options& options) {
  options.flag("-q,--quiet", quiet, "only warnings and errors on standard error");
  options.flag("-v,--verbose", verbose, "details on standard error");
  options.flag("--no-progress", no_progress, "no progress bar and no progress lines");
  options.on_note([this](std::string_view line) { info(line); });
}

void Console::warn(std::string_view line) const { print_err(line); }
void Console::info(std::string_view line) const {
  if (!quiet) print_err(line);
}
void Console::detail(std::string_view line) const {
  if (verbose) print_err(line);
}

Log Console::log() const {
  return [console = *this](Level level, std::string_view line) {
    switch (level) {
      case Level::kWarning:
        return console.warn(line);
      case Level::kInfo:
        return console.info(line);
      case Level::kDetail:
        return console.detail(line);
    }
  };
}

ProgressBar::ProgressBar(const Console& console, std::string label, std::string unit, double scale)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      scale_(scale),
      shown_(!console.quiet && !console.no_progress),
      terminal_(stderr_is_terminal()),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::draw(double done, double total, std::string_view extra, double seconds) {
  const double rate = seconds > 0 ? done / seconds : 0;
  std::string line = fmt::format("{}: {:.0f}/{:.0f} {}", label_, done / scale_, total / scale_, unit_);
  if (total > 0) line += fmt::format(" ({:.0f} %)", 100.0 * done / total);
  if (rate > 0) line += fmt::format(", {:.1f} {}/s", rate / scale_, unit_);
  if (rate > 0 && total > done) line += ", " + duration_text((total - done) / rate) + " left";
  if (!extra.empty()) line += fmt::format(", {}", extra);
  if (!terminal_) return print_err(line);
  const int bar_width = 20, filled = total > 0 ? static_cast<int>(bar_width * std::min(1.0, done / total)) : 0;
  line = fmt::format("[{}{}] {}", std::string(filled, '#'), std::string(bar_width - filled, '.'), line);
  const std::size_t width = static_cast<std::size_t>(std::max(20, terminal_width() - 1));
  if (line.size() > width) line.resize(width);
  fmt::print(stderr, "\r\x1b[K{}", line);
  std::fflush(stderr);
  drawn_ = true;
}

bool ProgressBar::update(double done, double total, std::string_view extra) {
  const auto now = std::chrono::steady_clock::now();
  const double since_last = std::chrono::duration<double>(now - last_).count();
  const bool due =
      terminal_ ? !drawn_ || since_last >= kRedrawSeconds || done >= total : since_last >= kPlainLineSeconds;
  if (shown_ && due) {
    last_ = now;
    draw(done, total, extra, std::chrono::duration<double>(now - start_).count());
  }
  return stop_signal() == 0;
}

void ProgressBar::finish() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

Progress ProgressBar::callback() {
  return [this](double done, double total) { return update(done, total); };
}

std::string duration_text(double seconds) {
  const long long s = std::llround(std::clamp(seconds, 0.0, 1e12));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

std::string bytes_text(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 6) bytes /= 1024, ++unit;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, units[unit]);
}

namespace {

[[noreturn]] void output_failed(int error) {
  if (error == EPIPE) throw OutputClosed{};
  throw Error(
      is_no_room(error) ? ErrorKind::kDoesNotFit : ErrorKind::kIo,
      fmt::format("cannot write to standard output: {}", error == EBADF ? "it is closed" : std::strerror(error)));
}

}  // namespace

void print_out(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) output_failed(errno);
}

void flush_out() {
  if (std::fflush(stdout) != 0) output_failed(errno);
}

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }
bool stdin_is_terminal() { return isatty(STDIN_FILENO) == 1; }
bool use_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return stderr_is_terminal() && (no_colour == nullptr || *no_colour == '\0');
}

void open_standard_descriptors() {
  // In this order: open() gives the lowest free number.
  for (const auto& [fd, access] :
       {std::pair(STDIN_FILENO, O_WRONLY), {STDOUT_FILENO, O_RDONLY}, {STDERR_FILENO, O_RDWR}}) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    if (::open("/dev/null", access) == fd) continue;
    if (::open("/", O_PATH) != fd) _exit(1);  // no descriptor is left, and nobody could be told
  }
}

void install_signal_handlers() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then an error of write(), as a full disk is
  struct sigaction action {};
  action.sa_handler = on_stop_signal;  // no SA_RESTART: a blocked read of a chat line must return
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction before {};
  if (sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

int stop_signal() { return stop_flag.load(std::memory_order_relaxed); }
void clear_stop_signal() { stop_flag = 0; }
void throw_if_stopped() {
  if (stop_signal() != 0) throw Stopped{};
}
int stop_exit_code() { return stop_signal() != 0 ? 128 + stop_signal() : 1; }

}  // namespace dodeca::runtime::cli
