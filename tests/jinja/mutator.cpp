#include "tests/jinja/mutator.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <iterator>

#include "runtime/text/utf8.h"
#include "tests/jinja/golden_options.h"

namespace llmrt::jinja {
namespace {

const std::string kPieces[] = {"{%",
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
                               "~",
                               "**",
                               "%",
                               "//",
                               "\n",
                               " ",
                               "*",
                               "\xC3\x9F",
                               "\xF0\x9F\x99\x82",
                               "loop",
                               "0",
                               "-1",
                               "none",
                               "9223372036854775807",
                               "[::-1]",
                               "[1:]",
                               "namespace()",
                               " if ",
                               " else ",
                               " for x in ",
                               " in ",
                               " not ",
                               " is ",
                               " and ",
                               " or ",
                               "{% else %}",
                               "{% endif %}",
                               "{% endfor %}",
                               "{% raw %}",
                               "{% endraw %}",
                               "{% set x = ",
                               "{% set ns.x = ns %}",
                               "{% macro m(a) %}",
                               "{% endmacro %}",
                               "{{ m(m) }}",
                               "{% call m() %}",
                               "{% endcall %}",
                               "{% filter upper %}",
                               "{% endfilter %}",
                               "{% for i in range(9) recursive %}",
                               "{{ loop(range(9)) }}",
                               " * 99999",
                               " * 'ab'",
                               "*[1], **{'a': 2}",
                               "cycler(1, 2).next()",
                               "joiner()",
                               "dict(a=1)",
                               "raise_exception('e')",
                               "strftime_now('%d%j')",
                               "|tojson",
                               "|tojson(indent=4)",
                               "|list",
                               "|length",
                               "|map(attribute='role')",
                               "|map('upper')",
                               "|select('string')",
                               "|rejectattr('role', 'equalto', 'user')",
                               "|join",
                               "|join(', ')",
                               "|sort",
                               "|sort(attribute='a,b')",
                               "|items",
                               "|dictsort",
                               "|unique",
                               "|groupby('role')",
                               "|batch(3, 0)",
                               "|slice(3)",
                               "|sum",
                               "|min",
                               "|reverse",
                               "|first",
                               "|last",
                               "|random",
                               "|safe",
                               "|e",
                               "|truncate(9)",
                               "|center(80)",
                               "|indent(4, true)",
                               "|title",
                               "|int(0, 16)",
                               "|float",
                               "|round(2)",
                               "|default('x', true)",
                               "|format(1, 2)",
                               "|string",
                               "|wordcount",
                               "|attr('items')",
                               "|replace('a', 'bb')",
                               "|trim",
                               ".strip('ab')",
                               ".split()",
                               ".rsplit(' ', 1)",
                               ".splitlines()",
                               ".startswith('a')",
                               ".replace('', 'x')",
                               ".find('a', 2)",
                               ".rfind('a')",
                               ".count('')",
                               ".join('abc')",
                               ".zfill(9)",
                               ".format(1, a=2)",
                               ".title()",
                               ".casefold()",
                               ".isdigit()",
                               ".upper()",
                               ".partition('a')",
                               ".items()",
                               ".get('role')",
                               ".append(1)",
                               ".index(1)",
                               "'%5.2f|%r|%(a)s'",
                               "'{:>9}{!r}{0.a[b]}'",
                               " is defined",
                               " is mapping",
                               " is in [1]",
                               " is sameas x",
                               " is divisibleby 2"};

}  // namespace

Mutator::Mutator(std::vector<std::string> corpus, uint64_t seed)
    : corpus_(std::move(corpus)), random_(seed) {
  std::erase(corpus_, "");
}

std::string Mutator::next() {
  std::string text = corpus_[below(corpus_.size())];
  for (size_t n = 1 + below(4); n > 0 && !text.empty(); --n) {
    const size_t at = below(text.size()), length = std::min(1 + below(12), text.size() - at);
    switch (below(6)) {
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
        const std::string& other = corpus_[below(corpus_.size())];
        text.insert(at, other.substr(below(other.size()), 1 + below(60)));
        break;
      }
      case 4:  // behind an expression, where a filter or method does most
        if (const size_t end = text.find(below(2) ? "}}" : "%}", at); end != std::string::npos)
          text.insert(end, kPieces[below(std::size(kPieces))]);
        break;
      default:
        text[at] = static_cast<char>(32 + below(95));
    }
  }
  return text;
}

std::optional<std::string> whatIsWrong(const std::string& source, const Value& context,
                                       int* texts) {
  RenderOptions options = goldenOptions();
  options.limits = {.steps = 200'000, .memory_bytes = 16 << 20};
  const std::clock_t start = std::clock();
  const Result<Template> parsed = Template::parse(source, "t");
  const auto text = parsed.ok() ? parsed->render(context, options) : parsed.status();
  // Some milliseconds; more with sanitizers.
  if (std::clock() - start > 5 * CLOCKS_PER_SEC) return "takes long";
  if (text.ok()) {
    ++*texts;
    if (!isValidUtf8(*text)) return "the text is not UTF-8";
    return std::nullopt;
  }
  const std::string& message = text.status().message();
  if (message.empty() || message.find('\n') != std::string::npos)
    return "the message is no line: " + message;
  return std::nullopt;
}

std::vector<std::string> snippets(const nlohmann::json& golden) {
  std::vector<std::string> corpus;
  for (const auto& snippet : golden["snippets"]) corpus.push_back(snippet["template"]);
  return corpus;
}

std::vector<std::string> filesIn(const std::string& folder) {
  std::vector<std::string> files, corpus;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) corpus.push_back(readFile(file));
  return corpus;
}

}  // namespace llmrt::jinja
