// Nothing a template holds ends in more than an error: limits, hostile templates, and mutations of
// real ones.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "runtime/jinja/json_text.h"
#include "runtime/jinja/template.h"
#include "runtime/text/utf8.h"
#include "tests/jinja/golden_options.h"

namespace llmrt::jinja {
namespace {

using Clock = std::chrono::steady_clock;

Result<std::string> render(const std::string& source, const std::string& context = "{}",
                           const Limits& limits = {}) {
  LLMRT_ASSIGN_OR_RETURN(const Template parsed, Template::parse(source, "t.jinja"));
  LLMRT_ASSIGN_OR_RETURN(const Value value, parseJsonValue(context, "c.json"));
  RenderOptions options = goldenOptions();
  options.limits = limits;
  return parsed.render(value, options);
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
  EXPECT_EQ(render("x", "{\"a\": 12345678901234567890}").status().message(),
            "c.json: the number 12345678901234567890 does not fit in 64 bits");
  EXPECT_EQ(render("\xff").status().message(), "t.jinja: is not UTF-8 at byte 0");
}

TEST(Bounds, HostileTemplatesEndInAnError) {
  const std::string hostile[] = {
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}{{ ns.s }}",
      "{% set ns = namespace(c=1) %}{% for i in range(100000) %}{% set ns.c = cycler(ns.c) %}{% "
      "endfor %}",
      "{% set ns = namespace(c=[]) %}{% for i in range(100000) %}{% set ns.c = [ns.c].count %}{% "
      "endfor %}",
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
      "{{ 9223372036854775808 }}",
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
  const auto start = Clock::now();
  for (const std::string& source : hostile) {
    SCOPED_TRACE(source.substr(0, 100));
    const auto text = render(source);
    if (source.front() == '[') continue;  // that is text
    EXPECT_FALSE(text.ok());
  }
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(60));
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

TEST(Bounds, LimitsAreTheCallers) {
  EXPECT_EQ(
      render("{% for i in range(1000) %}{% endfor %}", "{}", {.steps = 500}).status().message(),
      "t.jinja:1: the template runs for too long");
  EXPECT_EQ(render("{{ 'x' * 1000 }}", "{}", {.memory_bytes = 500}).status().message(),
            "t.jinja:1: the template uses too much memory");
  EXPECT_EQ(render("{{ [[[[[[1]]]]]] }}", "{}", {.depth = 5}).status().message(),
            "t.jinja:1: the template nests too deeply");
}

// Mutations of templates end in text or an error, in bounded time.
class Fuzz : public testing::Test {
 protected:
  std::mt19937 random_{20250710};

  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  std::string mutated(std::string text, const std::vector<std::string>& corpus) {
    static const std::string kPieces[] = {"{%",
                                          "%}",
                                          "{{",
                                          "}}",
                                          "{#",
                                          "#}",
                                          "-",
                                          "(",
                                          ")",
                                          "[",
                                          "]",
                                          "{",
                                          "}",
                                          "|",
                                          ".",
                                          ",",
                                          "'",
                                          "\"",
                                          "\\",
                                          " if ",
                                          " else ",
                                          " for x in ",
                                          " in ",
                                          " not ",
                                          " is ",
                                          "{% endfor %}",
                                          "{% endif %}",
                                          "{% else %}",
                                          "{% raw %}",
                                          "{% endraw %}",
                                          "{% set x = ",
                                          "{% macro m(a) %}",
                                          "{% endmacro %}",
                                          "loop",
                                          "[::-1]",
                                          "0",
                                          "9223372036854775807",
                                          "-1",
                                          "|tojson",
                                          "|list",
                                          "|length",
                                          "|map(attribute='role')",
                                          "|join",
                                          "none",
                                          "namespace()",
                                          "~",
                                          "**",
                                          "%",
                                          "//",
                                          "\n",
                                          " ",
                                          "\xC3\x9F",
                                          "\xF0\x9F\x99\x82",
                                          "|sort",
                                          "|items",
                                          "*"};
    for (size_t n = 1 + below(4); n > 0 && !text.empty(); --n) {
      const size_t at = below(text.size()), length = std::min(1 + below(12), text.size() - at);
      switch (below(5)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, kPieces[below(std::size(kPieces))]);
          break;
        case 2:
          text.replace(at, length, kPieces[below(std::size(kPieces))]);
          break;
        case 3: {
          const std::string& other = corpus[below(corpus.size())];
          if (!other.empty()) text.insert(at, other.substr(below(other.size()), 1 + below(60)));
          break;
        }
        default:
          text[at] = static_cast<char>(32 + below(95));
      }
    }
    return text;
  }

  void run(const std::vector<std::string>& corpus, const std::string& context, int count) {
    const Result<Value> value = parseJsonValue(context, "context");
    ASSERT_TRUE(value.ok()) << value.status().message();
    RenderOptions options = goldenOptions();
    options.limits = {.steps = 200'000, .memory_bytes = 16 << 20};
    int texts = 0;
    for (int i = 0; i < count; ++i) {
      const std::string source = mutated(corpus[below(corpus.size())], corpus);
      const Result<Template> parsed = Template::parse(source, "t");
      const auto text = parsed.ok() ? parsed->render(*value, options) : parsed.status();
      if (text.ok()) {
        ++texts;
        ASSERT_TRUE(isValidUtf8(*text)) << source;
      } else {
        ASSERT_FALSE(text.status().message().empty());
        ASSERT_EQ(text.status().message().find('\n'), std::string::npos) << source;
      }
    }
    EXPECT_GT(texts, count / 50);  // mutations are mild enough to reach the interpreter
  }
};

TEST_F(Fuzz, MutatedSnippets) {
  const auto golden = nlohmann::json::parse(readFile(JINJA_GOLDENS));
  std::vector<std::string> corpus;
  for (const auto& snippet : golden["snippets"]) corpus.push_back(snippet["template"]);
  run(corpus, golden["context"].dump(), 20000);
}

TEST_F(Fuzz, MutatedChatTemplates) {
  const std::string folder = std::string(LLMC_MATERIAL_DIR) + "/chat-templates/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent (LLMC_MATERIAL_DIR)";
  std::vector<std::string> files, corpus;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "jinja"))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) corpus.push_back(readFile(file));
  run(corpus, readFile(folder + "contexts/tool_use.json"), 2000);
}

}  // namespace
}  // namespace llmrt::jinja
