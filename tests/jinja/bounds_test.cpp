// Nothing a template holds ends in more than an error: limits, hostile templates, and mutations of
// real ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "runtime/jinja/json_text.h"
#include "runtime/jinja/template.h"
#include "tests/jinja/golden_options.h"
#include "tests/jinja/mutator.h"
#include "tests/sampling.h"

namespace llmrt::jinja {
namespace {

double cpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Tighter than the default, which such templates use up in some seconds each.
constexpr Limits kTight = {.steps = 5'000'000, .memory_bytes = 128 << 20};

Result<std::string> render(const std::string& source, const std::string& context = "{}",
                           const Limits& limits = {}) {
  LLMRT_ASSIGN_OR_RETURN(const Template parsed, Template::parse(source, "t.jinja"));
  LLMRT_ASSIGN_OR_RETURN(const Document given, parseJsonValue(context, "c.json"));
  RenderOptions options = goldenOptions();
  options.limits = limits;
  return parsed.render(given.value, options);
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Bounds, ErrorsAreOneLineWithTheTemplatesLine) {
  EXPECT_EQ(render("a\nb\n{{ nope.x }}").status().message(), "t.jinja:3: 'nope' is undefined");
  EXPECT_EQ(render("\n{% if %}").status().message(),
            "t.jinja:2: expected an expression, found '%}'");
  EXPECT_EQ(render("\n\n{{ raise_exception('two\\nlines') }}").status().message(),
            "t.jinja:3: two lines");
  EXPECT_EQ(render("{% macro m() %}\n{{ 1 / 0 }}{% endmacro %}\n{{ m() }}").status().message(),
            "t.jinja:2: division by zero");
  EXPECT_EQ(render("x", "[1]").status().message(),
            "a chat template's context must be a JSON object");
  EXPECT_EQ(render("x", "{\"a\": 1").status().code(), StatusCode::kInvalidData);
  EXPECT_EQ(render("{{ " + repeated("1", 4301) + " }}").status().message(),
            "t.jinja:1: an integer has more than 4300 digits");
  EXPECT_EQ(render("{{ x|wordwrap }}{{ x|random }}").status().message(),
            "t.jinja:1: Jinja2's filter 'wordwrap' is not supported");
  EXPECT_EQ(render("\xff").status().message(), "t.jinja: is not UTF-8 at byte 0");
}

TEST(Bounds, HostileTemplatesEndInAnError) {
  const std::string hostile[] = {
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}{{ ns.s }}",
      "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor "
      "%}",
      "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(150) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(150) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l }}",
      "{{ 'x' * 1000000000000 }}",
      "{{ [1] * 1000000000000 }}",
      "{{ 'x'.center(1000000000000) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ '{:>2000000000}'.format(1) }}",
      "{{ 'a'|indent(1000000000000) }}",
      "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
      "{{ ('a' * 1000000).replace('', 'b' * 1000000) }}",
      "{{ (range(100000)|list)|join('x' * 1000000) }}",
      "{{ [1, 2]|batch(1000000000000, 0)|list }}",
      "{{ [1, 2]|slice(1000000000000)|list }}",
      "{{ 2 ** 100 }}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ -9223372036854775807 - 2 }}",
      "{{ 9223372036854775808 + 1 }}",
      "{{ 'a' * 9223372036854775808 }}",
      "{{ 'x'.ljust(9223372036854775807) }}",
      "{{ 'x'.zfill(9223372036854775807) }}",
      "{{ '%*d' % (2147483647, 1) }}",
      "{{ 'x'|indent('y' * 100000000, true) }}",
      "{{ [9] * 9223372036854775807 }}",
      "{{ 'x'|center(9223372036854775807) }}",
      "{{ '%s' * 100000000 % (1,) }}",
      "{{ 'a'|tojson(indent=1000000000000) }}",
      "{{ range(0, 9223372036854775807, 1) }}",
      "{{ '%.1000000f' % 1.5 }}",
      "{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}",
      "{{ " + repeated("not ", 100000) + "1 }}",
      "{{ " + repeated("-", 100000) + "1 }}",
      "{{ 1" + repeated(" + 1", 200000) + " }}",
      "{{ x" + repeated("|string", 100000) + " }}",
      "{{ x" + repeated(".a", 100000) + " }}",
      "{{ x" + repeated("[0]", 100000) + " }}",
      repeated("{% if 1 %}", 100000),
      repeated("{% for x in y %}", 100000),
      repeated("[", 100000),
      "{{ " + repeated("[", 100000),
      "{{ " + repeated("{1:", 100000),
      "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me.me|tojson }}",
  };
  for (const std::string& source : hostile) {
    SCOPED_TRACE(source.substr(0, 100));
    const double start = cpuSeconds();
    const auto text = render(source, "{}", kTight);
    EXPECT_LT(cpuSeconds() - start, 5);
    if (source.front() == '[') continue;  // that is text
    EXPECT_FALSE(text.ok());
  }
}

TEST(Bounds, WhatHoldsItselfIsFreed) {  // under AddressSanitizer
  EXPECT_EQ(
      *render("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.list = [ns] %}"
              "{% macro m() %}{{ m }}{% endmacro %}{% set ns.m = m %}{{ ns.me.me is defined }}"),
      "True");
  EXPECT_EQ(
      *render(
          "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% macro m() %}{{ i }}{% "
          "endmacro %}"
          "{% set ns.l = ns.l + [m, loop] %}{% endfor %}{{ ns.l[1998]() }}{{ ns.l[1999].index }}"),
      "9991000");
  EXPECT_EQ(*render("{% set ns = namespace(n=none) %}{% for i in range(20000) %}{% set ns2 = "
                    "namespace(n=ns.n) %}"
                    "{% set ns.n = ns2 %}{% endfor %}{{ ns.n.n.n is defined }}"),
            "True");
  EXPECT_EQ(*render("{% set f = cycler(1, 2).next %}{{ f() }}{{ f() }}"), "12");
}

TEST(Bounds, NoChainIsTooLongToBeFreed) {
  for (const std::string link :
       {"namespace(c=ns.c)", "cycler(ns.c)", "joiner(ns.c)", "[ns.c].count", "cycler(ns.c).next"}) {
    SCOPED_TRACE(link);
    const auto text = render(
        "{% set ns = namespace(c=1) %}{% for j in range(4) %}"
        "{% for i in range(100000) %}{% set ns.c = " +
        link + " %}{% endfor %}{% endfor %}{{ ns.c is defined }}");
    EXPECT_EQ(text.ok() ? *text : text.status().message(), "True");
  }
  EXPECT_EQ(*render("{% set ns = namespace(m=none) %}{% for i in range(100000) %}"
                    "{% set before = ns.m %}{% macro m() %}{{ before is none }}{% endmacro %}"
                    "{% set ns.m = m %}{% endfor %}{{ ns.m() }}"),
            "False");
}

// What a template makes or looks at is paid for, however it is done: each of these would take
// hours, or all of a machine's memory.
TEST(Bounds, AllWorkIsPaidFor) {
  const std::string big =
      "{% set s = 'ab' * 100000 %}{% set l = range(50000)|list %}"
      "{% set d = dict(l|map('string')|map('list')|map('join')|batch(2)"
      "|selectattr(1, 'defined')|list) %}{% set t = l|batch(50000)|first %}"
      "{% set big = ('9' * 309)|int %}";
  const std::string expressions[] = {
      "s|safe",
      "s|string|safe|string",
      "s|truncate(199990, true, '', 0)",
      "s[0]|center(1) ~ s",
      "s in s ~ 'c'",
      "s.startswith(s)",
      "s.endswith((s, s, s))",
      "s.strip(s)",
      "s.lstrip('a' ~ s)",
      "s.rfind(s ~ 'c')",
      "s.rsplit(s)",
      "s.rpartition('ba' * 50000)",
      "s.count(s)",
      "s.join([])",
      "''.join(l|map('string'))",
      "['']|join(s)",
      "s.replace(s, '')",
      "s|replace('x', s)",
      "s.find('', 5)",
      "s.isalpha()",
      "s.title()",
      "s.casefold()",
      "s is upper",
      "s == 'ab' * 100000",
      "{s: 1}[s]",
      "{}.get(s)",
      "d[s] is defined",
      "namespace()[s] is defined",
      "namespace(**d) is defined",
      "dict(**d)|length",
      "s is sameas s",
      "s|int",
      "s|float",
      "s|wordcount",
      "s|trim",
      "s|e",
      "s|tojson",
      "s|indent",
      "s|length",
      "(s ~ '\xc3\xa4')|length",
      "(s ~ '\xc3\xa4')[5]",
      "s[::-1]",
      "s|list|length",
      "l|reverse|first",
      "l|sum",
      "l|min",
      "l|unique|first",
      "l|sort|first",
      "l + l",
      "l == t",
      "l.count(1)",
      "l[1:]|first",
      "l|tojson",
      "(l|map('string')|list)[0]",
      "'%s' % s",
      "'{}'.format(s)",
      "'{0.x}{1}'.format({'x': 1}, s)",
      "s|format",
      "range(100000)|length",
      "loop|string ~ s",
      "nope is defined and s or s[1:]",
      "s.splitlines()|length",
      "s|map('upper')|first",
      "[s]|map(attribute=s)|first is defined",
      "[s]|selectattr(s)|first is defined",
      "[s]|groupby(s)|length",
      "strftime_now(s)",
      "1.7e308|round(300)",
      "-1.7e308|filesizeformat",
      "big > 1.5e308",
      "1.7e308|int",
      "strftime_now('%%' * 1000)",
  };
  // Every third in the short form: each works until its limit.
  const size_t step = llmc_tests::fullTests() ? 1 : 3;
  for (size_t i = 0; i < std::size(expressions); i += step) {
    const std::string& expression = expressions[i];
    SCOPED_TRACE(expression);
    const double start = cpuSeconds();
    const auto text = render(
        big + "{% for i in range(100000) %}{% for j in range(100000) %}{% set x = " + expression +
            " %}{% endfor %}{% endfor %}",
        "{}", kTight);
    EXPECT_FALSE(text.ok());
    EXPECT_TRUE(testing::Matches(testing::AnyOf(testing::HasSubstr("runs for too long"),
                                                testing::HasSubstr("too much memory")))(
        text.status().message()))
        << text.status().message();
    EXPECT_LT(cpuSeconds() - start, 5);
  }
}

// Looking up what kind a character is costs as much as comparing some hundred bytes: it is a step
// for each character looked at, whatever it is.
TEST(Bounds, EachCharacterLookedUpIsAStep) {
  constexpr int kCharacters = 100'000;
  struct Case {
    std::string character, expression;
  };
  const Case cases[] = {
      {"!", "s.isupper()"},
      {"!", "s.islower()"},
      {"\xce\xa3", "s.isupper()"},
      {" ", "s.isspace()"},
      {"9", "s.isdecimal()"},
      {"9", "s.isdigit()"},
      {"\xd9\xa9", "s.isnumeric()"},
      {"9", "s.isalnum()"},
      {"\xce\xa3", "s.isalpha()"},
      {"!", "s|wordcount"},
      {"9", "s|wordcount"},
      {"9", "s|float"},
      {"\xd9\xa9", "s|float"},
      {"_", "s|float"},
      {"!", "s|int"},
      {"0", "s|int"},
      {"!", "s.strip('!' * 1000)|length"},
      {"!", "s.lstrip('!' * 1000)|length"},
      {"\xce\xa3", "s.rstrip('\xce\xa3!')|length"},
      {"!", "s|trim('!')|length"},
      {"!", "s.title()|length"},
      {"!", "s.swapcase()|length"},
      {"'", "(s ~ '\xce\xa3').lower()|length"},
      {"'", "('a\xce\xa3' ~ s)|lower|length"},
      {"'", "('a\xce\xa3' ~ s)|capitalize|length"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.character + " " + c.expression);
    const std::string context = "{\"s\": \"" + repeated(c.character, kCharacters) + "\"}";
    const std::string source = "{{ " + c.expression + " }}";
    EXPECT_EQ(render(source, context, {.steps = kCharacters}).status().message(),
              "t.jinja:1: the template runs for too long: the limit is 100000 steps");
    const auto text = render(source, context, {.steps = 3 * kCharacters});
    EXPECT_TRUE(text.ok()) << text.status().message();
  }
}

// What takes the C library a microsecond and more.
TEST(Bounds, LongNumbersAreManySteps) {
  for (const char* expression :
       {"1.1|round(300)", "1e308 % 3e-308", "1e308 // 3e-308", "'%.0f' % 1.7e308", "'%.300f' % 0.1",
        "'{:.300}'.format(5e-324)", "'{:%}'.format(1.7e300)"}) {
    SCOPED_TRACE(expression);
    const std::string source = std::string("{{ ") + expression + " }}";
    EXPECT_EQ(render(source, "{}", {.steps = 30}).status().message(),
              "t.jinja:1: the template runs for too long: the limit is 30 steps");
    const auto text = render(source, "{}", {.steps = 200});
    EXPECT_TRUE(text.ok()) << text.status().message();
  }
  EXPECT_EQ(*render("{{ 1.7e308|round(300) }} {{ 9007199254740993.0|round(2) }} "
                    "{{ 4503599627370495.5|round(0) }}"),
            "1.7e+308 9007199254740992.0 4503599627370496.0");
}

// Keys that share a bucket of the standard library's hash table make a chain of it.
TEST(Bounds, NoChoiceOfKeysMakesADictSlow) {
  constexpr size_t kKeys = 4000;
  std::unordered_multimap<size_t, size_t> table;
  for (size_t i = 0; i < kKeys; ++i) table.emplace(i, i);
  std::string dict = "{\"d\": {";
  for (size_t i = 0, found = 0; found < kKeys; ++i) {
    const std::string key = std::to_string(i);
    if (std::hash<std::string_view>()(key) % table.bucket_count() != 0) continue;
    dict += (found++ > 0 ? ", \"" : "\"") + key + "\": 0";
  }
  const double start = cpuSeconds();
  EXPECT_EQ(*render("{% for i in range(200) %}{% for k in d %}{% if d[k] %}{% endif %}{% endfor %}"
                    "{% endfor %}{{ d|length }}",
                    dict + "}}"),
            std::to_string(kKeys));
  EXPECT_LT(cpuSeconds() - start, 2);
}

// As templates do that collect all they print in a variable; copies would take 1.4 GB.
TEST(Bounds, ATextThatGrowsCostsAFewTimesItself) {
  for (const std::string op : {"~", "+"}) {
    const auto text = render(
        "{% set ns = namespace(out='', half='') %}{% for i in range(10000) %}"
        "{% set ns.out = ns.out " +
            op +
            " 'a piece of some length, ' ~ i %}"
            "{% if i == 5000 %}{% set ns.half = ns.out %}{% endif %}{% endfor %}"
            "{% set a = ns.half " +
            op + " 'x' %}{% set b = ns.half " + op +
            " 'yz' %}"
            "{{ ns.out|length }} {{ a[-5:] }} {{ b[-6:] }} {{ ns.half[-4:] }} "
            "{{ ns.out[:ns.half|length] == ns.half }} {{ (ns.out + ns.out)[-28:] }} "
            "{{ ns.out[-3:] }} {{ (ns.out ~ '\u00e4')[-2:] }} {{ ns.out[0] }}",
        "{}", {.memory_bytes = 16 << 20});
    EXPECT_EQ(text.ok() ? *text : text.status().message(),
              "278890 5000x 5000yz 5000 True a piece of some length, 9999 999 9\u00e4 a");
  }
}

TEST(Bounds, LimitsAreTheCallers) {
  EXPECT_EQ(
      render("{% for i in range(1000) %}{% endfor %}", "{}", {.steps = 500}).status().message(),
      "t.jinja:1: the template runs for too long: the limit is 500 steps");
  EXPECT_EQ(render("{{ 'x' * 10000 }}", "{}", {.memory_bytes = 10000}).status().message(),
            "t.jinja:1: the template uses too much memory: the limit is 10000 bytes");
  EXPECT_EQ(render("{{ 'x' * 1000000000 }}").status().message(),
            "t.jinja:1: the template uses too much memory: the limit is 256 MiB");
  EXPECT_EQ(render("{{ [[[[[[1]]]]]] }}", "{}", {.depth = 5}).status().message(),
            "t.jinja:1: the template nests too deeply: the limit is 5 levels");
}

// Mutations of templates end in text or an error; fuzz.cpp runs more of them, for as long as one
// likes.
void expectTextOrError(const std::vector<std::string>& corpus, const std::string& context,
                       int count) {
  const Result<Document> given = parseJsonValue(context, "context");
  ASSERT_TRUE(given.ok()) << given.status().message();
  Mutator mutator(corpus, 20250710);
  int texts = 0;
  for (int i = 0; i < count; ++i) {
    const std::string source = mutator.next();
    const auto wrong = whatIsWrong(source, given->value, &texts);
    ASSERT_FALSE(wrong) << *wrong << "\n" << source;
  }
  EXPECT_GT(texts, count / 50);  // mutations are mild enough to reach the interpreter
}

TEST(Fuzz, MutatedSnippets) {
  const auto golden = nlohmann::json::parse(readFile(JINJA_GOLDENS));
  expectTextOrError(snippets(golden), golden["context"], 20000);
}

TEST(Fuzz, MutatedChatTemplates) {
  const std::string folder = std::string(LLMC_MATERIAL_DIR) + "/chat-templates/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent (LLMC_MATERIAL_DIR)";
  expectTextOrError(filesIn(folder + "jinja"), readFile(folder + "contexts/tool_use.json"), 2000);
}

}  // namespace
}  // namespace llmrt::jinja
