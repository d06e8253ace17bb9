// Where memory ends, and how much a rendering takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/jinja/json_text.h"
#include "runtime/jinja/template.h"
#include "tests/jinja/allocations.h"
#include "tests/jinja/golden_options.h"

namespace llmrt::jinja {
namespace {

TEST(Memory, AnyAllocationMayFail) {
  const Result<Template> parsed = Template::parse(
      "{% macro m(a, b=1) %}{% if a %}{{ m(a[1:], caller) }}{% endif %}{{ a ~ b }}{% endmacro %}"
      "{% for i in range(3) %}{% for k, v in {'x': i, 'y': [i]}.items() %}{% set z %}{{ k ~ v }}"
      "{% endset %}{% with w = z|upper %}{{ w|tojson }}{% endwith %}{% endfor %}{% endfor %}"
      "{% call m('abc') %}called{% endcall %}{{ [3, 1]|sort|map('string')|join(',') }}",
      "t");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const Document context = *parseJsonValue("{}", "c");
  const RenderOptions options = goldenOptions();
  const std::string whole = *parsed->render(context.value, options);
  bool failed = true;
  int64_t n = 0;
  for (; failed; ++n) {
    failAllocationAfter(n);
    const Result<std::string> text = parsed->render(context.value, options);
    failed = stopFailingAllocations();
    if (text.ok()) {
      EXPECT_EQ(*text, whole);
    } else {
      EXPECT_EQ(text.status().code(), StatusCode::kOutOfMemory) << text.status().message();
    }
  }
  EXPECT_GT(n, 50);
}

// Limits::memory_bytes is about what is really allocated, whatever it is made of.
TEST(Memory, LittleMoreIsAllocatedThanIsPaidFor) {
  constexpr int64_t kBytes = 16 << 20;
  std::string parameters = "a=m()";
  for (int i = 0; i < 20'000; ++i) parameters += ",a" + std::to_string(i) + "=1";
  const auto forever = [](const std::string& body) {
    return "{% set ns = namespace(v=none) %}{% for i in range(100000) %}{% for j in range(100) %}" +
           body + "{% endfor %}{% endfor %}";
  };
  const std::string sources[] = {
      forever("{% set ns.v = {1: ns.v is defined} %}"),
      forever("{% set ns.v = {} %}"),
      forever("{% set ns.v = {1: 2, 3: 4, 5: 6} %}"),
      forever("{% set ns.v = namespace(a=1) %}"),
      forever("{% set ns.v = [1] %}"),
      forever("{% set ns.v = (i, j) %}"),
      forever("{% set ns.v = i ~ 'x' %}"),
      forever("{% set ns.v = 'hello, what a long text' ~ j %}"),
      forever("{% set ns.v = [i, j, 3]|map('string')|list %}"),
      forever("{% set ns.v = cycler(1) %}"),
      forever("{% macro m(x) %}{{ x }}{% endmacro %}"),
      forever("{{ i }}"),
      "{% macro m(" + parameters + ") %}{% endmacro %}{{ m() }}",
      "{% set l = range(100000)|list %}{{ dict(l|map('string')|batch(1)|map('list'))|length }}",
      "{% set l = range(90000)|map('string')|list %}{{ [l, l]|map('unique')|map('list')|list }}",
  };
  for (const std::string& source : sources) {
    SCOPED_TRACE(source.substr(0, 150));
    const Result<Template> parsed = Template::parse(source, "t");
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    const Document context = *parseJsonValue("{}", "c");
    RenderOptions options = goldenOptions();
    options.limits.memory_bytes = kBytes;
    startCountingBytes();
    const Result<std::string> text = parsed->render(context.value, options);
    const int64_t peak = peakBytes();
    EXPECT_FALSE(text.ok());
    EXPECT_THAT(text.status().message(), testing::HasSubstr("the template uses too much memory"));
    EXPECT_LT(peak, kBytes * 3 / 2);  // at most 1.3 times as much with glibc
  }
}

}  // namespace
}  // namespace llmrt::jinja
