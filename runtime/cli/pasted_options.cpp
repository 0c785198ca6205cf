#include "runtime/cli/pasted_options.hpp"

#include <algorithm>
#include <charconv>

namespace dodeca::runtime::cli {
namespace {

using Value = PastedOption::Value;
constexpr Value kNone = Value::kNone, kSwitch = Value::kMayFollow, kValue = Value::kFollows;

enum Commands : unsigned {
  kRun = 1,
  kBatch = 2,
  kPpl = 4,
  kImatrix = 8,
  kTokenize = 16,
  kQuantize = 32,
  kBench = 64,
  kPlan = 128,
  kText = kRun | kBatch,
  kEval = kPpl | kImatrix,
  kModel = kText | kEval | kBench | kPlan,
  kAll = kModel | kTokenize | kQuantize,
};
constexpr struct {
  std::string_view name;
  Commands bit;
} kCommands[] = {{"dodeca run", kRun},         {"dodeca batch", kBatch},       {"dodeca ppl", kPpl},
                 {"dodeca imatrix", kImatrix}, {"dodeca tokenize", kTokenize}, {"dodeca quantize", kQuantize},
                 {"dodeca-bench", kBench},     {"dodeca plan", kPlan}};

constexpr PastedOption accepted(std::string_view names, Value value, unsigned commands, std::string_view answer) {
  return {names, value, commands, "*", answer, ""};
}
constexpr PastedOption refused(std::string_view names, Value value, unsigned commands, std::string_view refusal) {
  return {names, value, commands, "", "", refusal};
}

constexpr std::string_view kNoGpu = "without --gpu all layers run on the CPU",
                           kNoSplit = "one card at most takes whole blocks; nothing is split",
                           kAffinity = "the process's affinity decides; taskset or numactl sets it",
                           kRepacked = "weights are always repacked while loading",
                           kUnmapped = "weights are always read into memory, never mapped",
                           kExpertsHere = "without --gpu experts run on the CPU",
                           kFusedExperts = "expert products are always fused; the flag changes nothing",
                           kFusedAttention = "attention is always fused; the flag changes nothing",
                           kLog = "messages go to standard error; -q leaves warnings, -v adds details",
                           kNoDraft = "--mtp says what is drafted; the text is the same",
                           kPrefixes = "the beginnings that prompts share are kept in the cache as far as it reaches",
                           kNoServer = "there is no server to set up here",
                           kFileSays = "positions are scaled as the model's file says";
constexpr std::string_view kWritePath = "nothing is downloaded; fetch the file and write -m PATH",
                           kWriteServer = "there is no server; run answers in the terminal, batch a file of requests",
                           kWriteRope = "write --override-kv KEY=TYPE:VALUE to change what the file says of positions",
                           kWriteChat = "leave it out and write -cnv for a chat",
                           kWriteTemplate =
                               "the chat template writes what stands around a message; write "
                               "--chat-template-file FILE for another",
                           kWriteGrammar = "what is generated is not constrained; leave it out and check the text",
                           kWriteTensorType = "write --tensor-type REGEX=TYPE",
                           kWriteMerged = "merge adapters into the weights before they are quantized",
                           kWriteThinking =
                               "write --thinking on or --thinking off, the switch of templates that have one",
                           kOnlyText = "only text is read and made";

constexpr PastedOption kOptions[] = {
    // ---- where things run --------------------------------------------------------------------------------------
    accepted("-ngl,--gpu-layers,--n-gpu-layers", kValue, kBench, kNoGpu),
    accepted("-ot,--override-tensor", kValue, kBench, "without --gpu every tensor is in system memory"),
    accepted("-cmoe,--cpu-moe", kSwitch, kBench, kExpertsHere),
    accepted("-ncmoe,--n-cpu-moe", kValue, kBench, kExpertsHere),
    accepted("-ncffn,--n-cpu-ffn", kValue, kModel,
             "write --n-cpu-moe for the experts; dense layers go where there is room"),
    accepted("-sm,--split-mode,-ts,--tensor-split,-mg,--main-gpu,--max-gpu,-op,--offload-policy,-cuda,--cuda-params,"
             "-grt,--graph-reduce-type,-gap,--graph-attn-precision,-mea,--max-extra-alloc,-fitt,--fit-target,-fitc,"
             "--fit-ctx,--fit-margin,-gfm,--gpu-fit-margin",
             kValue, kModel, kNoSplit),
    accepted("-dev,--device", kValue, kBench, "write --gpu NUMBER for a card"),
    accepted("-nkvo,--no-kv-offload,-kvo,--kv-offload,-nopo,--no-op-offload,--op-offload,-no-ooae,"
             "--no-offload-only-active-experts,-smgs,--split-mode-graph-scheduling,-smf16,--split-mode-f16,-smf32,"
             "--split-mode-f32,-sas,--scheduler-async,--no-host,-fit,--fit,--print-overrides",
             kSwitch, kModel, kNoSplit),
    refused("--list-devices", kNone, kModel, "dodeca --version lists the cards; leave it out"),
    refused("-rpc,--rpc", kValue, kModel,
            "parts on other machines are ranks that mpirun starts (README, Several machines); leave it out"),
    accepted("--mlock", kSwitch, kModel, "weights are in anonymous memory, which is not locked"),
    accepted("--no-mmap,--mmap,-mmp", kSwitch, kModel, kUnmapped),
    accepted("-lm,--load-mode,-lzm,--lazy-mode", kValue, kModel, kUnmapped),
    accepted("-dio,--direct-io,-ndio,--no-direct-io", kNone, kModel, "weights are read once, through the page cache"),
    accepted("-thp,--transparent-huge-pages", kSwitch, kModel, "huge pages are always asked for"),
    accepted("--defer-experts,--prefetch-experts", kNone, kModel, kUnmapped),
    accepted("--prefetch-experts-threads", kValue, kModel, kUnmapped),
    accepted("-rtr,--run-time-repack,-repack", kSwitch, kModel, kRepacked),
    accepted("--repack,-nr,--no-repack", kSwitch, kModel, kRepacked),
    accepted("-mqkv,--merge-qkv,-muge,--merge-up-gate-experts,--merge-up-gate-exps", kSwitch, kModel, kRepacked),
    accepted("--check-tensors,-vq,--validate-quants", kNone, kModel,
             "weights are not looked through one by one; results that are no numbers end the run"),
    accepted("--prio,--prio-batch", kValue, kModel, "the process's priority is left alone; nice sets it"),
    accepted("--poll", kValue, kModel, "only run and batch have tokens between which threads could sleep"),
    accepted("--poll-batch", kValue, kModel, "--poll is for prompts too"),
    accepted("-C,--cpu-mask,-Cr,--cpu-range,-Cb,--cpu-mask-batch,-Crb,--cpu-range-batch", kValue, kModel, kAffinity),
    accepted("--cpu-strict,--cpu-strict-batch", kValue, kModel, "workers are always bound to cores"),
    accepted("-tb,--threads-batch,-tgb,--threads-gen-batch", kValue, kBench, "prompts run on the threads of -t"),
    accepted("-tm,--threads-mtmd,--threads-http", kValue, kModel, "-t and -tb say how many threads there are"),

    // ---- attention, experts, cache -----------------------------------------------------------------------------
    accepted("-fa,--flash-attn", kSwitch, kModel, kFusedAttention),
    accepted("-no-fa,--no-flash-attn", kNone, kModel, kFusedAttention),
    accepted("-mla,--mla-use,--mla-attn", kValue, kModel, "the latent cache with absorbed products is always used"),
    accepted("-amb,--attention-max-batch,--attn-max-batch", kValue, kModel,
             "attention works in bounded buffers anyway"),
    accepted("-fmoe,--fused-moe,-no-fmoe,--no-fused-moe,-no-fug,--no-fused-up-gate,-no-mmad,--no-fused-mul-multiadd",
             kSwitch, kModel, kFusedExperts),
    accepted("-ger,--grouped-expert-routing", kSwitch, kModel,
             "experts are chosen by groups where the model has them; --plain-topk turns that off"),
    {"-ser,--smart-expert-reduction", kValue, kModel, "*,0|*,0.0", "every token runs all experts that its router chose",
     "every token runs all experts that its router chose; leave it out"},
    accepted("-gr,--graph-reuse,-no-gr,--no-graph-reuse,-rcache,--rope-cache,-fdn,--fused-delta-net", kSwitch, kModel,
             "there are no graphs to build anew for each token"),
    accepted("-wgt,--worst-graph-tokens", kValue, kModel, "there are no graphs to build anew for each token"),
    accepted("-khad,--k-cache-hadamard,-vhad,--v-cache-hadamard", kSwitch, kModel, "cache rows are stored as they are"),
    accepted("-dsa,--dsa,-fidx,--fused-indexer-topk,--swa-full,--swa-compress", kSwitch, kModel,
             "the models that run here attend to everything before a token"),
    accepted("-dsatk,--dsa-top-k", kValue, kModel, "the models that run here attend to everything before a token"),
    accepted("--no-context-shift", kNone, kModel, "a full context ends the answer; nothing is shifted"),
    {"--context-shift", kSwitch, kModel, "off|0|false", "a full context ends the answer; nothing is shifted",
     "a full context ends the answer; write a larger -c"},
    accepted("--keep", kValue, kModel, "a full context ends the answer; nothing is shifted"),
    accepted("-dt,--defrag-thold", kValue, kModel, "the cache needs no defragmentation"),
    accepted("-kvu,--kv-unified,-no-kvu,--no-kv-unified", kNone, kModel, "all sequences share one cache"),
    accepted("-cb,--cont-batching,-nocb,--no-cont-batching", kNone, kModel,
             "requests of a batch join and leave at any token"),
    accepted("-ctxcp,--ctx-checkpoints,--swa-checkpoints,-cms,--checkpoint-min-step,-ctx-ckpt,-ctx-ckpt-i,"
             "--ctx-checkpoints-interval,-ctx-ckpt-t,--ctx-checkpoints-tolerance,-ctx-ckpt-e,"
             "--ctx-checkpoints-eviction,-cram,--cache-ram,-crs,--cache-ram-similarity,-cram-n-min,--cache-ram-n-min,"
             "--cache-reuse,-sps,--slot-prompt-similarity,--kv-unified-per-slot",
             kValue, kText, kPrefixes),
    accepted("--cache-prompt,--no-cache-prompt,--cache-idle-slots,--no-cache-idle-slots", kNone, kText, kPrefixes),
    {"-gan,--grp-attn-n", kValue, kModel, "1", kFileSays, kWriteRope},
    accepted("-gaw,--grp-attn-w", kValue, kModel, kFileSays),
    refused("--rope-scaling,--rope-scale", kValue, kModel, kWriteRope),
    {"--rope-freq-base,--rope-freq-scale,--yarn-orig-ctx", kValue, kModel, "0", kFileSays, kWriteRope},
    {"--yarn-ext-factor,--yarn-attn-factor,--yarn-beta-slow,--yarn-beta-fast", kValue, kModel, "-1", kFileSays,
     kWriteRope},
    {"-np,--parallel", kValue, kRun, "1|0|-1", "run works on one prompt",
     "run works on one prompt; batch -np N works on several at once"},
    accepted("-np,--parallel,-ns,--sequences", kValue, kEval, "-b says how many tokens run together"),

    // ---- sampling ----------------------------------------------------------------------------------------------
    {"--dry-multiplier", kValue, kText, "0", "there is no DRY sampling",
     "there is no DRY sampling; --repeat-penalty, --frequency-penalty and --presence-penalty are what there is"},
    accepted("--dry-base,--dry-allowed-length,--dry-penalty-last-n,--dry-sequence-breaker", kValue, kText,
             "there is no DRY sampling"),
    {"--mirostat", kValue, kText, "0", "there is no Mirostat sampling",
     "there is no Mirostat sampling; write --temp, --top-k, --top-p and --min-p"},
    accepted("--mirostat-lr,--mirostat-ent", kValue, kText, "there is no Mirostat sampling"),
    {"--xtc-probability", kValue, kText, "0", "there is no XTC sampling",
     "there is no XTC sampling; write --temp, --top-k, --top-p and --min-p"},
    accepted("--xtc-threshold", kValue, kText, "there is no XTC sampling"),
    {"--typical,--typical-p,--tfs", kValue, kText, "1", "tokens are cut by --top-k, --top-p and --min-p",
     "tokens are cut by --top-k, --top-p and --min-p; write one of these"},
    {"--top-nsigma,--top-n-sigma,--adaptive-target", kValue, kText, "-1",
     "tokens are cut by --top-k, --top-p and --min-p",
     "tokens are cut by --top-k, --top-p and --min-p; write one of these"},
    accepted("--adaptive-decay", kValue, kText, "tokens are cut by --top-k, --top-p and --min-p"),
    {"--dynatemp-range", kValue, kText, "0", "the temperature is the same for every token",
     "the temperature is the same for every token; write --temp"},
    accepted("--dynatemp-exp", kValue, kText, "the temperature is the same for every token"),
    accepted("--penalize-nl", kNone, kText, "line ends are penalized like every other token"),
    refused("--no-penalize-nl", kNone, kText, "line ends are penalized like every other token; leave it out"),
    refused("-l,--logit-bias", kValue, kText, "logits are not biased; leave it out"),
    {"--grammar", kValue, kText, "''", "what is generated is not constrained", kWriteGrammar},
    refused("--grammar-file,-j,--json-schema,-jf,--json-schema-file,--banned-string-file,--allowlist-unicode-rule,"
            "--allowlist-pieces,--allowlist-keyword,--expiring-logit-bias-file",
            kValue, kText, kWriteGrammar),
    {"--cfg-scale", kValue, kText, "1", "there is no guidance by a second prompt",
     "there is no guidance by a second prompt; leave it out"},
    refused("--cfg-negative-prompt,--cfg-negative-prompt-file", kValue, kText,
            "there is no guidance by a second prompt; leave it out"),
    accepted("-bs,--backend-sampling", kNone, kText, "tokens are drawn on the CPU"),
    accepted("--temp,--temperature,--top-k,--top-p,--min-p,-s,--seed,--repeat-penalty,--repeat-last-n,"
             "--presence-penalty,--frequency-penalty,--samplers,--sampling-seq,--sampler-seq,-n,--predict,--n-predict",
             kValue, kEval, "no text is generated here"),

    // ---- prompts and chats -------------------------------------------------------------------------------------
    accepted("-e,--escape,--no-escape", kNone, kEval, "texts are taken as they are"),
    accepted("--jinja,--no-jinja,--peg", kNone, kAll, "the model's template is run as it is"),
    accepted("--reasoning-format", kValue, kText, "the text is shown as the model writes it, its thinking included"),
    {"-rea,--reasoning", kValue, kText, "auto", "the template decides on thinking", kWriteThinking},
    {"--reasoning-budget,--reasoning-tokens", kValue, kText, "-1", "thinking takes as long as it takes",
     kWriteThinking},
    accepted("--reasoning-budget-message", kValue, kText, "thinking takes as long as it takes"),
    {"--reasoning-effort", kValue, kText, "default", "the template decides on thinking", kWriteThinking},
    {"--chat-template-kwargs", kValue, kText, "{}|''", "the template gets nothing but messages", kWriteThinking},
    accepted("--reasoning-preserve,--no-reasoning-preserve", kNone, kText,
             "the template decides what it keeps of earlier answers"),
    accepted("--skip-chat-parsing,--no-skip-chat-parsing,-ptcall,--parallel-tool-calls", kNone, kText,
             "answers are not parsed"),
    accepted("--prefill-assistant,--no-prefill-assistant", kNone, kText, "the template opens the assistant's turn"),
    {"--in-prefix,--in-suffix", kValue, kRun, "''", "the chat template writes what stands around a message",
     kWriteTemplate},
    refused("--in-prefix-bos", kNone, kRun, kWriteTemplate),
    refused("-i,--interactive,-if,--interactive-first,-ins,--instruct,--chatml", kNone, kRun, kWriteChat),
    refused("--infill,--spm-infill", kNone, kText, "text is completed at its end; write -p TEXT"),
    accepted("-mli,--multiline-input", kNone, kRun, "a message is one line"),
    accepted("-co,--color", kSwitch, kAll, "colours are used on a terminal unless NO_COLOR is set"),
    accepted("--simple-io", kNone, kAll, "a terminal is read line by line"),
    accepted("--display-prompt", kNone, kRun, "the prompt is shown unless --no-display-prompt is given"),
    accepted("--verbose-prompt", kNone, kModel, "dodeca tokenize shows the tokens of a prompt"),
    accepted("-ptc,--print-token-count", kValue, kModel, "tokens are counted at the end"),
    accepted("--perf,--no-perf,--show-timings,--no-show-timings", kNone, kAll,
             "speeds are printed at the end unless -q is given"),
    accepted("--warmup,--no-warmup", kNone, kText | kEval, "there is no run before the first one"),
    {"-w,--warmup", kSwitch, kBench, "1|on|true", "each test runs once before it is timed", "write --no-warmup"},
    refused("-sp,--special", kNone, kText, "control tokens are not shown; leave it out; batch has them with logprobs"),
    refused("--prompt-cache-all", kNone, kRun, "--prompt-cache keeps the prompt alone; leave it out"),
    refused("-bf,--binary-file", kValue, kModel, "write -f FILE, which takes any bytes but one line end at their end"),

    // ---- logs, downloads, other models, servers ----------------------------------------------------------------
    accepted("--log-disable,--log-enable,--log-new,--log-append,--log-test,--log-prefix,--no-log-prefix,"
             "--log-timestamps,--no-log-timestamps,--log-jsonl,--no-log-jsonl,--minilog,--log-verbose",
             kNone, kAll, kLog),
    accepted("--log-file,--log-colors,-lv,--verbosity,--log-verbosity,-ld,--logdir,--log-format,--log-prompts-dir",
             kValue, kAll, kLog),
    refused("-hf,-hfr,--hf-repo,-hff,--hf-file,-mu,--model-url,-dr,--docker-repo", kValue, kAll, kWritePath),
    accepted("-hft,--hf-token", kValue, kAll, "nothing is downloaded"),
    accepted("--offline", kNone, kAll, "nothing is downloaded"),
    refused("-mm,--mmproj,-mmu,--mmproj-url,--image,--audio,--video", kValue, kModel, kOnlyText),
    accepted("--no-mmproj,--mmproj-auto,--no-mmproj-auto,--mmproj-offload,--no-mmproj-offload", kNone, kModel,
             kOnlyText),
    accepted("--image-min-tokens,--image-max-tokens,--mtmd-kq-type", kValue, kModel, kOnlyText),
    refused("--lora,--lora-scaled,--lora-base,--control-vector,--control-vector-scaled,--control-vector-layer-range",
            kValue, kModel, kWriteMerged),
    accepted("--lora-init-without-apply", kNone, kModel, kWriteMerged),
    refused("-md,--model-draft,--draft-model,--spec-draft-model,-hfd,-hfrd,--hf-repo-draft,--spec-draft-hf", kValue,
            kModel, "there is no second model that drafts; leave it out, the text is the same"),
    accepted("-mtp,--multi-token-prediction,-no-mtp,--no-multi-token-prediction,--spec-default,--spec-autotune,-cmoed,"
             "--cpu-moe-draft,--spec-draft-cpu-moe",
             kNone, kModel, kNoDraft),
    accepted("--draft,--draft-n,--draft-max,--draft-min,--draft-n-min,--draft-p-min,--draft-p-split,-ps,--p-split,"
             "--spec-draft-n-max,--spec-draft-n-min,--spec-draft-p-min,--spec-draft-p-split,--spec-type,"
             "--spec-ckpt-mode,-ngld,--gpu-layers-draft,--n-gpu-layers-draft,--spec-draft-ngl,-devd,--device-draft,"
             "--spec-draft-device,-ctkd,--cache-type-k-draft,--spec-draft-type-k,-ctvd,--cache-type-v-draft,"
             "--spec-draft-type-v,-otd,--override-tensor-draft,-ncmoed,--n-cpu-moe-draft,-cd,--ctx-size-draft,-td,"
             "--threads-draft,-tbd,--threads-batch-draft,-lcs,--lookup-cache-static,-lcd,--lookup-cache-dynamic,-draft,"
             "--draft-params",
             kValue, kModel, kNoDraft),
    refused("--host,--port,--api-key,--api-key-file,--ssl-key-file,--ssl-cert-file", kValue, kModel, kWriteServer),
    accepted("-a,--alias,--tags,--path,--api-prefix,--cors-origins,--cors-methods,--cors-headers,-to,--timeout,"
             "--sse-ping-interval,--slot-save-path,--media-path,--models-dir,--models-preset,--models-max,"
             "--sleep-idle-seconds,--ui-config,--webui-config",
             kValue, kText, kNoServer),
    accepted("--metrics,--props,--slots,--no-slots,--webui,--no-webui,--ui,--no-ui,--reuse-port,--send-done,"
             "--models-autoload,--no-models-autoload",
             kSwitch, kText, kNoServer),
    refused("--embedding,--embeddings,--rerank,--reranking", kNone, kText, "text is generated, not embedded"),
    {"--pooling,--embd-normalize,--attention", kValue, kText, "none|causal", "text is generated, not embedded",
     "text is generated, not embedded"},
    refused("--version", kNone, kAll, "dodeca --version prints it"),

    // ---- what others call what there is ------------------------------------------------------------------------
    refused("--model-path,--gguf-path", kValue, kAll, "write -m PATH"),
    refused("--max-tokens,--max-new-tokens,--tokens", kValue, kText, "write -n N"),
    refused("--cpu-infer,--n-threads", kValue, kAll, "write -t N"),
    refused("--max-model-len,--context-length,--cache-lens", kValue, kModel, "write -c N"),
    refused("--max-num-seqs", kValue, kBatch, "write -np N"),
    refused("--prompt-file", kValue, kRun, "write -f FILE"),
    refused("--system", kValue, kRun, "write -sys TEXT"),
    refused("--force-think", kNone, kText, kWriteThinking),

    // ---- single commands ---------------------------------------------------------------------------------------
    accepted("-embd,--embeddings", kValue, kBench, "logits are computed, as for generation"),
    refused("-gp", kValue, kBench, "write -d DEPTH -n N"),
    refused("-npp", kValue, kBench, "write -p N"),
    refused("-ntg", kValue, kBench, "write -n N"),
    refused("-npl", kValue, kBench, "write --parallel N"),
    accepted("--perplexity,--all-logits", kNone, kPpl, "ppl computes the perplexity anyway"),
    refused("--hellaswag,--winogrande,--multiple-choice", kNone, kPpl,
            "ppl computes perplexity and divergence; write -f TEXT"),
    accepted("--hellaswag-tasks,--winogrande-tasks,--multiple-choice-tasks", kValue, kPpl,
             "ppl computes perplexity and divergence"),
    {"--ppl-stride,--ppl-output-type", kValue, kPpl, "0", "windows follow each other, results are printed as they come",
     "windows follow each other without overlap; leave it out"},
    {"--chunk,--from-chunk", kValue, kImatrix, "0", "the text is read from its beginning",
     "the text is read from its beginning; cut off what is not wanted"},
    {"--output-tensor-name", kValue, kImatrix, "output.weight", "the output matrix is found by itself",
     "the output matrix is found by itself; leave it out"},
    accepted("--ppl", kNone, kImatrix, "the perplexity is shown unless --no-ppl is given"),
    accepted("--output-draft,--draft-output,--draft-output-file", kValue, kImatrix, kNoDraft),
    refused("-lsim,--layer-similarity", kNone, kImatrix, "weights are measured, layers are not compared; leave it out"),
    accepted("--pure", kNone, kQuantize, "a TYPE is always given to all matrices"),
    accepted("--allow-requantize", kNone, kQuantize, "quantized sources are taken, with a warning"),
    accepted("-t,--threads,-c,--ctx-size,-b,--batch-size,-ngl,--gpu-layers,--n-gpu-layers", kValue, kTokenize,
             "no weights are read"),
    refused("--leave-output-tensor", kNone, kQuantize, "write --output-tensor-type BF16, or the type that it has"),
    refused("--include-weights,--exclude-weights", kValue, kQuantize,
            "the importance matrix counts for all weights that it has; leave it out"),
    refused("--keep-split", kNone, kQuantize, "write --split-max-size SIZE or --split-max-tensors N"),
    refused("--hide-imatrix", kNone, kQuantize, "what an importance matrix was made of is always noted; leave it out"),
    accepted("--ignore-imatrix-rules", kNone, kQuantize, "there are no such rules"),
    refused("--custom-q", kValue, kQuantize, "write --tensor-type REGEX=TYPE once for each rule"),
    refused("--tensor-type-file", kValue, kQuantize, "write --tensor-type REGEX=TYPE once for each line of the file"),
    refused("--prune-layers", kValue, kQuantize, "all layers are written; leave it out"),
    refused("--attn-q-type,--attn-k-type,--attn-v-type,--attn-qkv-type,--attn-output-type,--ffn-gate-type,"
            "--ffn-down-type,--ffn-up-type,--ffn-gate-inp-type,--per-layer-token-embedding-type",
            kValue, kQuantize, kWriteTensorType),
    refused("--extra-output-tensor", kValue, kQuantize, "there is one output matrix; write --output-tensor-type TYPE"),
    accepted("--repack", kNone, kQuantize, "weights are repacked when they are loaded; the file keeps its types"),
    accepted("--repack-pattern", kValue, kQuantize,
             "weights are repacked when they are loaded; the file keeps its types"),
    accepted("--max-buffer-size", kValue, kQuantize, "--low-memory makes the pieces of work smaller"),
    accepted("--partial-requant", kNone, kQuantize, "an interrupted quantize resumes by itself"),
    refused("--symmetric-q40,--slow-iq2ks", kNone, kQuantize, "there is one way to make each type; leave it out"),
};

// Calls f with each item of a list until it returns true.
template <class F>
bool any_of_list(std::string_view list, char separator, F f) {
  for (;;) {
    const std::size_t end = list.find(separator);
    if (f(list.substr(0, end))) return true;
    if (end == std::string_view::npos) return false;
    list.remove_prefix(end + 1);
  }
}

unsigned bit_of(std::string_view command) {
  for (const auto& [name, bit] : kCommands)
    if (name == command) return bit;
  return 0;
}

bool same_number(std::string_view a, std::string_view b) {
  double x = 0, y = 0;
  const auto whole = [](std::string_view text, double& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  };
  return whole(a, x) && whole(b, y) && x == y;
}

}  // namespace

const PastedOption* find_pasted(std::string_view command, std::string_view name) {
  const unsigned bit = bit_of(command);
  for (const PastedOption& option : kOptions)
    if ((option.commands & bit) != 0 &&
        any_of_list(option.names, ',', [&](std::string_view known) { return known == name; }))
      return &option;
  return nullptr;
}

bool is_switch_word(std::string_view text) {
  constexpr std::string_view kWords[] = {"on", "off", "auto", "0", "1", "true", "false"};
  return !any_of_list(text, ',',
                      [&](std::string_view item) { return std::ranges::find(kWords, item) == std::end(kWords); });
}

bool asks_for_nothing(const PastedOption& option, std::string_view value) {
  if (option.harmless.empty()) return false;
  return any_of_list(option.harmless, '|', [&](std::string_view pattern) {
    if (pattern.starts_with('*')) return value.ends_with(pattern.substr(1));
    return pattern == "''" ? value.empty() : pattern == value || same_number(pattern, value);
  });
}

std::vector<std::string> accepted_names(std::string_view command) {
  const unsigned bit = bit_of(command);
  std::vector<std::string> names;
  for (const PastedOption& option : kOptions)
    if ((option.commands & bit) != 0 && !option.answer.empty())
      any_of_list(option.names, ',', [&](std::string_view name) { return names.emplace_back(name), false; });
  return names;
}

}  // namespace dodeca::runtime::cli
