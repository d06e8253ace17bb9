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
      "{{ 'a' * 1000000000 }}",
      "{{ 'a' * 9000000 }}",
      "{{ [1] * 100000000 }}",
      "{{ 'a'.ljust(1000000000) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ ('a' * 4000000)|list }}",
      "{{ ('a' * 10000).replace('a', 'b' * 10000) }}",
      "{{ ('a' * 10000)|replace('', 'b' * 10000) }}",
      "{{ (range(100000)|list)|join('x' * 1000) }}",
      "{{ [1]|batch(100000000, 0)|list }}",
      "{{ ('a\n' * 100000)|indent(1000) }}",
      "{{ ([1] * 400000)|tojson(indent=100) }}",
      "{{ ('9' * 9000000)|int }}",
      "{{ ('9' * 8000000)|float }}",
      "{{ ('<b>' * 2000000)|striptags }}",
      "{{ ('\u0390' * 3000000).upper() }}",
      "{{ ('<' * 3000000)|e }}",
      forever("{{ 'hello, what a long text' }}"),
      forever("{% set ns.v = (ns.v or '') ~ 'hello' %}"),
      forever("{% set ns.v = (ns.v or '') + 'hello' %}"),
      forever("{% set ns.v = (ns.v or []) + [1] %}"),
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
    EXPECT_LT(peak, kBytes * 3 / 2);  // at most 1.3 times as much with glibc, of small values
  }
}

// A template's tree is bounded, too, whatever it is made of.
TEST(Memory, ParsingTakesAFewHundredTimesTheTextAtMost) {
  for (const std::string part :
       {"{{1}}", "{{x+x+x+x+x+x+x}}", "{{[[],[],[],[],[]]}}", "{%if 1%}{%endif%}", "{{a.b}}",
        "{{a|b}}", "{{f(a=1)}}", "{%set a=1%}", "x{#c#}"}) {
    SCOPED_TRACE(part);
    std::string source;
    while (source.size() + part.size() <= (1 << 20)) source += part;
    startCountingBytes();
    {
      const Result<Template> parsed = Template::parse(source, "t");
      if (!parsed.ok()) {
        EXPECT_THAT(parsed.status().message(), testing::HasSubstr("too"));
      }
    }
    EXPECT_LT(peakBytes(), 320 << 20);
  }
  EXPECT_EQ(Template::parse(std::string((1 << 20) + 1, 'x'), "t").status().message(),
            "t: is too long for a chat template: the limit is 1 MiB");
}

}  // namespace
}  // namespace llmrt::jinja
