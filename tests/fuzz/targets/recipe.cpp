#include "runtime/quantize/recipe_file.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

using runtime::quantize::FileRecipe;
using runtime::quantize::parse_recipe;

void fuzz_recipe(std::string_view bytes) {
  const FileRecipe recipe = parse_recipe(bytes, "fuzz");
  const FileRecipe again = parse_recipe(runtime::quantize::recipe_text(recipe), "written");
  for (const char* name : {"blk.3.ffn_down_exps.weight", "output.weight", "token_embd.weight"})
    require(recipe.type_of(name) == again.type_of(name), "a written recipe reads back as another");
}

std::vector<std::string> fuzz_recipe_seeds() {
  return {R"({"recipe":"r","default":"Q4_K","tensors":{"output.weight":"Q6_K","blk.3.ffn_down_exps.weight":"iq3_s"},)"
          R"("rules":[{"match":"_exps","type":"Q2_K"},{"match":"^token.*(embd|x)\\.[a-w]+$","type":"Q5_0"}]})",
          R"({"default":"Q8_0","rules":[{"match":"(a+)+$|(?<=w)e(?R)?","type":"Q2_K"}]})", R"({"default":"BF16"})"};
}

}  // namespace dodeca::tests
