// What the model cannot count and was measured: on two cores of an EPYC (Zen 4), in whole tokens and prompts
// (bench/results/epyc-zen4.md), and with the trace of the same. cpu/NOTES.md says what is expected of many cores.
#pragma once

namespace dodeca::runtime::predict {

// Of the bandwidth that a plain read reaches at best, what reading weights in whole tokens reaches: the best pass over a
// buffer is not the mean, and experts lie anywhere.
inline constexpr double kReadShare = 0.88;
// Seconds to begin reading new matrices in a phase: streams that hardware has to recognize.
inline constexpr double kPhaseStart = 2e-6;
// Seconds of all members together to finish a phase's results of one row (norms, quantizing, SwiGLU), and the part of a phase
// that a member of few cannot give away.
inline constexpr double kFinishRow = 20e-6;
// Seconds that one member works alone: behind the routing of a MoE layer, and behind every other phase.
inline constexpr double kAloneRouting = 4e-6, kAlonePhase = 0.5e-6;
// The same, more, where results come from other core complexes: lines that it pulls.
inline constexpr double kPulledLines = 1e-6;
// Seconds between two tokens: sampling by all members, and entering the next step.
inline constexpr double kBetweenTokens = 1e-4;
// Of the speed that a product of many rows has alone, what prompts reach: gathering rows, finishing, uneven units.
inline constexpr double kPromptShare = 0.87;
// Of the speed of attention's kernels alone, what generating reaches.
inline constexpr double kAttentionShare = 0.85;
// Attention with grouped queries. Generated rows work in floats: of F32's products with eight rows, what their products
// reach with four or more query heads for a key-value head (31 mac/ns with AVX2, 50 with AVX-512, 3.7 GHz), and cycles
// to decode a value of a cached row (0.17 to 0.26; kernels alone, on Zen 4). Prompts and caches of bytes take the rates
// of latent attention by the numbers that are loaded and multiplied, and loading a head's this much of what as many
// numbers of latent rows take (f16, Zen 5: 4.9 us for 256 positions of 256 numbers, where 576 take 21).
inline constexpr double kFloatAttentionShare = 0.95, kDecodeCycles = 0.22, kCachedHeadLoad = 0.55;
// Cycles for each scored position to choose the highest, by one member (AVX-512: 13 us for 32,768, Zen 5).
inline constexpr double kChooseCycles = 2;
// Units of the chosen experts' tiles are taken from a counter: the last ones come out uneven.
inline constexpr double kCounterImbalance = 1.03;
// Hits of slots for the experts that a run uses most: their share of all experts to this power. Published: 8 to 18 % of the
// uses with 11.5 slots of 256 in a layer.
inline constexpr double kPublishedHitsPower = 0.66;
inline constexpr const char* kPublishedHits =
    "8 to 18 % with 11.5 slots of 256 (FreeToken issue 174, a model of 256 experts)";
// Kernels of one layer of attention and of one feed-forward block on a card, two of which are graphs.
inline constexpr int kCardAttentionKernels = 14, kCardFfnKernels = 8;

}  // namespace dodeca::runtime::predict
