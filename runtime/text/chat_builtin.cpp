#include "runtime/text/chat_builtin.hpp"

#include <fmt/core.h>

#include <array>

namespace dodeca::runtime {
namespace {

// Sets `answer` to a message's content without what was thought before it.
constexpr std::string_view kAnswer =
    "{%- set answer = m['content'] %}{%- if '</think>' in answer %}{%- set answer = answer.split('</think>')[-1] %}{%- "
    "endif %}";

constexpr std::string_view kDeepseekV2 = R"({{ bos_token }}{%- for m in messages %}
{%- if m['role'] == 'system' %}{{ m['content'] + '\n\n' }}
{%- elif m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\n\n' }}
{%- elif m['role'] == 'assistant' %}{{ 'Assistant: ' + m['content'] + eos_token }}
{%- else %}{{ raise_exception('roles are system, user and assistant') }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %})";

// All of V3's line join system messages by a blank line and put them first.
constexpr std::string_view kDeepseekBegin = R"({%- set ns = namespace(system='', first=true) %}
{%- for m in messages if m['role'] == 'system' %}
{%- set ns.system = m['content'] if ns.first else ns.system + '\n\n' + m['content'] %}{%- set ns.first = false %}
{%- endfor %}{{ bos_token }}{{ ns.system }}
{%- for m in messages %}
{%- if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}
{%- elif m['role'] == 'assistant' %})";
constexpr std::string_view kDeepseekEnd =
    R"({%- elif m['role'] != 'system' %}{{ raise_exception('roles are system, user and assistant') }}{%- endif %}
{%- endfor %})";

std::string deepseek(std::string_view assistant, std::string_view prompt) {
  return fmt::format(
      "{}{}{{{{ '{}' + answer + '<｜end▁of▁sentence｜>' }}}}{}{{%- if add_generation_prompt %}}{{{{ {} }}}}{{% endif "
      "%}}",
      kDeepseekBegin, kAnswer, assistant, kDeepseekEnd, prompt);
}

constexpr std::string_view kChatml =
    R"({%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";
constexpr std::string_view kQwen3 = R"({%- for m in messages %}ANSWER
{{-  '<|im_start|>' + m['role'] + '\n' + (answer.lstrip('\n') if m['role'] == 'assistant' else m['content']) + '<|im_end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %})";

constexpr std::string_view kMistral = R"({{ bos_token }}{%- set ns = namespace(system='') %}
{%- for m in messages %}
{%- if m['role'] == 'system' %}{%- set ns.system = m['content'] + '\n\n' %}
{%- elif m['role'] == 'user' %}{{ ' [INST] ' + ns.system + m['content'] + ' [/INST]' }}{%- set ns.system = '' %}
{%- elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}
{%- else %}{{ raise_exception('roles are system, user and assistant') }}{%- endif %}
{%- endfor %})";

constexpr std::string_view kGlm = R"([gMASK]<sop>{%- for m in messages %}
{%- if m['role'] == 'assistant' %}ANSWER{{ '<|assistant|>\n<think></think>\n' + answer.strip() }}
{%- elif m['role'] in ['system', 'user'] %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}
{%- if m['role'] == 'user' and enable_thinking is defined and not enable_thinking and not m['content'].endswith('/nothink') %}{{ '/nothink' }}{%- endif %}
{%- else %}{{ raise_exception('roles are system, user and assistant') }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' + ('\n<think></think>' if enable_thinking is defined and not enable_thinking else '') }}{% endif %})";

constexpr std::string_view kGptOss =
    R"({{ '<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\nCurrent date: ' + strftime_now('%Y-%m-%d') + '\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, final. Channel must be included for every message.<|end|>' }}
{%- for m in messages %}
{%- if m['role'] == 'system' or m['role'] == 'developer' %}{{ '<|start|>developer<|message|># Instructions\n\n' + m['content'] + '\n\n<|end|>' }}
{%- elif m['role'] == 'user' %}{{ '<|start|>user<|message|>' + m['content'] + '<|end|>' }}
{%- elif m['role'] == 'assistant' %}{{ '<|start|>assistant<|channel|>final<|message|>' + m['content'] + ('<|return|>' if loop.last and not add_generation_prompt else '<|end|>') }}
{%- else %}{{ raise_exception('roles are system, developer, user and assistant') }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %})";

constexpr std::string_view kKimiK2 = R"({%- for m in messages %}
{%- if loop.first and m['role'] != 'system' %}{{ '<|im_system|>system<|im_middle|>You are Kimi, an AI assistant created by Moonshot AI.<|im_end|>' }}{%- endif %}
{%- if m['role'] in ['system', 'user', 'assistant'] %}{{ '<|im_' + m['role'] + '|>' + m['role'] + '<|im_middle|>' + m['content'] + '<|im_end|>' }}
{%- else %}{{ raise_exception('roles are system, user and assistant') }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_assistant|>assistant<|im_middle|>' }}{% endif %})";

constexpr std::string_view kOlmoe = R"({{ bos_token }}{%- for m in messages %}
{%- if m['role'] in ['system', 'user'] %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '\n' }}
{%- elif m['role'] == 'assistant' %}{{ '<|assistant|>\n' + m['content'] + eos_token + ('' if loop.last else '\n') }}
{%- else %}{{ raise_exception('roles are system, user and assistant') }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %})";

std::string with_answer(std::string_view source) {
  constexpr std::string_view kPlace = "ANSWER";
  std::string out(source);
  return out.replace(out.find(kPlace), kPlace.size(), kAnswer);
}

}  // namespace

std::span<const BuiltinTemplate> builtin_templates() {
  static const std::array<BuiltinTemplate, 11> all = {{
      {{"deepseek-v2", "deepseek2"}, std::string(kDeepseekV2)},
      {{"deepseek-v3", "deepseek3", "deepseek"}, deepseek("<｜Assistant｜>", "'<｜Assistant｜>'")},
      {{"deepseek-r1"}, deepseek("<｜Assistant｜>", R"('<｜Assistant｜><think>\n')")},
      {{"deepseek-v3.1", "deepseek-v3.2"},
       deepseek("<｜Assistant｜></think>",
                "'<｜Assistant｜>' + ('<think>' if thinking is defined and thinking else '</think>')")},
      {{"chatml"}, std::string(kChatml)},
      {{"qwen3"}, with_answer(kQwen3)},
      {{"mistral", "mixtral"}, std::string(kMistral)},
      {{"glm-4.5", "glm4"}, with_answer(kGlm)},
      {{"gpt-oss"}, std::string(kGptOss)},
      {{"kimi-k2"}, std::string(kKimiK2)},
      {{"olmoe"}, std::string(kOlmoe)},
  }};
  return all;
}

}  // namespace dodeca::runtime
