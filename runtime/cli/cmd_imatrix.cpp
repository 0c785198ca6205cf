// dodeca imatrix: which columns of every weight matter, measured on a text; merging and showing such files.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "runtime/base/own_file.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/load_model.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/eval/importance.hpp"
#include "runtime/eval/statistics.hpp"
#include "runtime/eval/windows.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::int64_t kImatrixContext = 512;
constexpr std::string_view kCopyTail = ".at_#";  // of --save-frequency
constexpr std::uint64_t kCopiesOfSums = 2;       // while they are measured, and as the matrix that is written

struct ImatrixOptions {
  ModelOptions model;
  std::string text_file, output = "imatrix.gguf", format = "auto";
  std::vector<std::string> inputs;
  std::int64_t max_chunks = -1, save_every = 10, keep_every = 0;
  bool process_output = false, show = false, parse_special = false, no_ppl = false;

  bool as_dat() const { return format == "dat" || (format == "auto" && output.ends_with(".dat")); }
};

ImatrixOptions parse_imatrix(std::span<const std::string> args, Console& console) {
  ImatrixOptions o;
  Options options(
      "dodeca imatrix",
      "Measures on a text how much each column of every weight matters; quantize --imatrix uses the result.\n"
      "Without -m and -f: merges the --in-file matrices into -o, or shows them (--show-statistics).",
      "dodeca imatrix -m model.gguf -f calibration.txt -o imatrix.gguf");
  o.model.add_flags(options);
  options.value("-f,--file", o.text_file,
                "calibration text, in chunks of -c tokens (default here: 512); -: standard input", "FILE",
                FileUse::kReads);
  options.value("-o,--output", o.output, "the matrix (default: imatrix.gguf)", "FILE", FileUse::kWrites);
  options.choice("--output-format", o.format, {"auto", "gguf", "dat"}, "auto: dat for names that end in .dat");
  options.values("--in-file", o.inputs, "a matrix to start from; repeated: all of them added", "FILE", FileUse::kReads);
  options.files().may_replace("-o", "--in-file");
  options.value("--chunks", o.max_chunks, "at most so many chunks (default: all)", {-1, kNoMaximum});
  options.value("-ofreq,--output-frequency", o.save_every,
                "write the matrix every N chunks (default: 10; 0: at the end)", {0});
  options.value("--save-frequency", o.keep_every, "keep a copy OUTPUT.at_N every N chunks (default: 0, none)", {0});
  options.flag("--process-output", o.process_output, "also the output matrix");
  options.flag("--parse-special", o.parse_special, "special tokens in the text count as such");
  options.flag("--no-ppl", o.no_ppl, "no running perplexity");
  options.flag("--show-statistics", o.show, "print what the --in-file matrices say, by weight");
  console.add_flags(options);
  options.parse(args);
  if (o.keep_every > 0) {
    options.files().writes_numbered(o.output, kCopyTail, "--save-frequency");
    options.files().check();
    for (const std::filesystem::path& copy : numbered_files(o.output, kCopyTail)) check_own_file(copy);
  }
  refuse_stream("-o", o.output);
  if (o.max_chunks == 0) throw Usage("--chunks wants at least 1, or -1 for all");
  if (o.model.model.empty() != o.text_file.empty()) throw Usage("-m and -f belong together");
  if (o.model.model.empty() && o.inputs.empty()) throw Usage("-m MODEL and -f TEXT are needed, or --in-file");
  if (o.show && !o.model.model.empty())
    throw Usage("--show-statistics shows --in-file matrices; -m and -f do not go with it");
  if (!o.model.model.empty()) {
    o.model.whole = true;  // inputs are summed where all of a row is
    o.model.check();
    if (o.model.micro_batch == 0) o.model.micro_batch = 512;
    if (!options.given("-c")) o.model.ctx_size = kImatrixContext;
  }
  return o;
}

ImportanceMatrix merged(const std::vector<std::string>& paths) {
  ImportanceMatrix matrix;
  for (const std::string& path : paths) {
    try {
      matrix.add(ImportanceMatrix::read(path));
    } catch (Error& error) {
      if (error.kind() == ErrorKind::kBadRequest) error.with("file", path);
      throw;
    }
  }
  return matrix;
}

void write(const ImatrixOptions& o, const ImportanceMatrix& matrix, const std::string& path) {
  if (o.as_dat())
    matrix.write_dat(path);
  else
    matrix.write_gguf(path);
}

// One line per weight: total and spread of its columns' mean squares.
void show(const ImportanceMatrix& matrix) {
  print_out(
      fmt::format("{} entries, {} chunks of {} tokens\n\n", matrix.entries.size(), matrix.n_chunks, matrix.chunk_size));
  print_out("| weight | columns | slices | unreached | sum of means | largest | zero % | top 1 % of columns hold |\n");
  print_out("| --- | --: | --: | --: | --: | --: | --: | --: |\n");
  for (const auto& [name, entry] : matrix.entries) {
    std::vector<float> means;
    for (std::int64_t slice = 0; slice < entry.n_slices(); ++slice) {
      const std::vector<float> mean = ImportanceMatrix::importance(entry, entry.n_in, slice);
      means.insert(means.end(), mean.begin(), mean.end());
    }
    std::sort(means.begin(), means.end(), std::greater<>());
    double sum = 0, top = 0;
    std::size_t zeros = 0;
    const std::size_t n_top = std::max<std::size_t>(1, means.size() / 100);
    for (std::size_t i = 0; i < means.size(); ++i) {
      sum += means[i];
      if (i < n_top) top += means[i];
      zeros += means[i] == 0.0f;
    }
    print_out(fmt::format("| {} | {} | {} | {} | {:.4g} | {:.4g} | {:.2f} | {:.1f} % |\n", name, entry.n_in,
                          entry.n_slices(), ImportanceMatrix::unreached(entry).size(), sum, means.front(),
                          100.0 * static_cast<double>(zeros) / static_cast<double>(means.size()),
                          sum > 0 ? 100 * top / sum : 0));
  }
  flush_out();
}

std::vector<TokenId> calibration_tokens(const ImatrixOptions& o, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  if (tokenizer.add_bos() && tokenizer.bos()) ids.push_back(*tokenizer.bos());
  const std::vector<TokenId> text = tokenizer.encode(read_text_file(o.text_file), {false, o.parse_special});
  ids.insert(ids.end(), text.begin(), text.end());
  return ids;
}

// Experts that the text never chose, named, because their columns get the mean of the others.
void warn_unreached(const ImportanceMatrix& matrix, const Console& console) {
  for (const auto& [name, entry] : matrix.entries) {
    if (const auto id = weight_of_name(name); !id || id->role != WeightRole::kExpertGate) continue;
    const std::vector<std::int64_t> missing = ImportanceMatrix::unreached(entry);
    if (!missing.empty())
      console.warn(
          fmt::format("{}: {} of {} experts were never chosen by this text (first: {}); they will be weighted as the "
                      "mean of the others; more text would reach them",
                      name, missing.size(), entry.n_slices(), missing.front()));
  }
}

void collect(const ImatrixOptions& o, const Console& console) {
  const Tokenizer tokenizer = open_tokenizer(o.model.model, o.model.override_kv);
  const std::vector<TokenId> ids = calibration_tokens(o, tokenizer);
  const std::int64_t rows_per_call = std::min(o.model.batch, o.model.micro_batch);
  std::int64_t n_ctx = 0, n_chunks = 0;
  LoadedModel loaded = load_model(o.model, console, [&](const Plan& plan, std::int64_t context) {
    n_ctx = context;
    n_chunks = static_cast<std::int64_t>(ids.size()) / n_ctx;
    if (n_chunks == 0 || n_ctx < 4)
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("the text has {} tokens and a chunk (-c) {}: at least one whole chunk of 4 "
                              "tokens or more is needed",
                              ids.size(), n_ctx));
    if (o.max_chunks > 0) n_chunks = std::min(n_chunks, o.max_chunks);
    const auto logits = static_cast<std::uint64_t>(rows_per_call * plan.config.vocab_size) * sizeof(float);
    return CommandNeeds{.extra_bytes = kCopiesOfSums * exec::InputSums::bytes_needed(plan) + logits};
  });
  exec::InputSums sums(loaded.session->plan());
  loaded.session->executor().set_input_sums(&sums);
  eval::EvalModel model =
      eval::make_eval_model(loaded.session->executor(), loaded.session->workers().prompts(), rows_per_call);
  // As generated rows: a prompt's attention may take another form, which never makes v_b's input.
  model.forward = [forward = model.forward](std::span<const exec::Row> rows, exec::ForwardOutput& out) {
    std::vector<exec::Row> plain(rows.begin(), rows.end());
    for (exec::Row& row : plain) row.prompt = false;
    forward(plain, out);
  };

  const ImportanceMatrix before = merged(o.inputs);
  const auto so_far = [&](std::int64_t chunks) {
    ImportanceMatrix matrix = eval::importance_matrix(sums, o.process_output);
    matrix.n_chunks = chunks;
    matrix.chunk_size = n_ctx;
    matrix.datasets = {o.text_file};
    matrix.add(before);
    return matrix;
  };
  console.info(fmt::format("{} chunks of {} tokens", n_chunks, n_ctx));
  std::optional<TokenId> bos;
  if (tokenizer.add_bos()) bos = tokenizer.bos();
  eval::Perplexity perplexity;
  ProgressBar bar(console, "chunks", "");
  for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk) {
    const eval::Windows window{.tokens = std::span(ids).subspan(chunk * n_ctx, n_ctx),
                               .n_ctx = n_ctx,
                               .n_windows = 1,
                               .first = n_ctx / 2,
                               .bos = bos};
    eval::run_windows(model, window, [&](std::span<const eval::Prediction> predictions) {
      for (const eval::Prediction& p : predictions) {
        const double nll = eval::negative_log_likelihood(p.logits, p.target);
        if (!std::isfinite(nll))
          throw Error(ErrorKind::kBadFile,
                      fmt::format("the logits of chunk {} are NaN or infinite: the model is damaged", chunk + 1));
        perplexity.add(nll);
      }
    });
    if (!o.no_ppl) {
      print_out(fmt::format("[{}]{:.4f},", chunk + 1, perplexity.value()));
      flush_out();
    }
    const std::int64_t done = chunk + 1;
    if (o.save_every > 0 && done % o.save_every == 0 && done < n_chunks) write(o, so_far(done), o.output);
    if (o.keep_every > 0 && done % o.keep_every == 0) write(o, so_far(done), fmt::format("{}.at_{}", o.output, done));
    if (!stdout_is_terminal() && !bar.update(static_cast<double>(done), static_cast<double>(n_chunks))) throw Stopped{};
    throw_if_stopped();
  }
  if (!o.no_ppl)
    print_out(fmt::format("\nFinal estimate: PPL = {:.4f} +/- {:.5f}\n", perplexity.value(), perplexity.error()));
  flush_out();
  const ImportanceMatrix matrix = so_far(n_chunks);
  write(o, matrix, o.output);
  warn_unreached(matrix, console);
  console.info(fmt::format("{}: {} entries, {} chunks", o.output, matrix.entries.size(), matrix.n_chunks));
}

}  // namespace

int cmd_imatrix(std::span<const std::string> args) {
  Console console;
  const ImatrixOptions o = parse_imatrix(args, console);
  if (!o.model.model.empty()) {
    collect(o, console);
  } else if (o.show) {
    show(merged(o.inputs));
  } else {
    const ImportanceMatrix matrix = merged(o.inputs);
    write(o, matrix, o.output);
    console.info(fmt::format("{}: {} entries, {} chunks", o.output, matrix.entries.size(), matrix.n_chunks));
  }
  return 0;
}

}  // namespace dodeca::runtime::cli
