#include "frontend/tokenizer/OnigurumaRegex.h"

#include <cctype>
#include <vector>

#include "runtime/io/printable.h"
#include "runtime/text/regex.h"

namespace llmc {

using llmrt::quotedName;
using llmrt::Result;

namespace {

/// What Oniguruma means by \w, as the inside of a class: what counts as a letter, marks, digits and
/// connectors, and of the other numbers those of Latin-1.
constexpr std::string_view kWord =
    R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

/// What it means by [:name:], where PCRE2 means something else; empty: the same.
std::string_view posixClass(std::string_view name) {
  if (name == "alpha") return R"(\p{Alphabetic})";
  if (name == "alnum") return R"(\p{Alphabetic}\p{Nd})";
  if (name == "upper") return R"(\p{Uppercase})";
  if (name == "lower") return R"(\p{Lowercase})";
  if (name == "punct") return R"(\p{P}\p{S})";
  if (name == "space") return R"(\p{White_Space})";
  if (name == "word") return kWord;
  return {};
}

/// Does PCRE2 know a script of this name? For it \p{Han} has characters of several scripts as well,
/// and only \p{sc:Han} is Oniguruma's.
bool isScript(std::string_view name) {
  return llmrt::Regex::compile("\\p{sc:" + std::string(name) + "}").ok();
}

bool isAsciiAlnum(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<std::string> run() {
    while (at_ < in_.size()) {
      LLMRT_RETURN_IF_ERROR(in_class_ ? classItem() : item());
    }
    return std::move(out_);
  }

 private:
  llmrt::Status refuse(std::string_view what) const {
    return llmrt::unsupported("regular expression " + quotedName(in_) + ": " + std::string(what) +
                              " is not supported");
  }
  bool follows(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  void copy(size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }

  /// One atom, group border or quantifier. Keeps where the last atom begins in out_, for Ruby's
  /// "{n,m}+", which repeats what "{n,m}" has repeated.
  llmrt::Status item() {
    char c = in_[at_];
    if (c == '{') return interval();
    if (std::string_view("*+?|)").find(c) == std::string_view::npos) atom_ = out_.size();
    if (c == '\\') return escape();
    if (c == ')') {
      atom_ = groups_.empty() ? out_.size() : groups_.back();
      if (!groups_.empty()) groups_.pop_back();
    }
    if (c == '(') groups_.push_back(out_.size());
    if (c == '[') {
      in_class_ = true;
      copy(1);
      if (follows("^")) copy(1);
      if (follows("]")) copy(1);
      return {};
    }
    // Ruby's anchors know lines, and its (?m) lets '.' match a newline.
    if (c == '^' || c == '$') {
      out_ += c == '^' ? "(?m:^)" : "(?m:$)";
      ++at_;
      return {};
    }
    if (follows("(?")) {
      size_t end = in_.find_first_of(":)=!<>", at_);
      std::string_view options = in_.substr(at_ + 2, end == in_.npos ? in_.npos : end - at_ - 2);
      if (options.find_first_not_of("i-") != options.npos)
        return refuse("group (?" + std::string(options));
      // Ruby's (?i) holds for the alternatives after it as well, PCRE2's does not.
      if (end != in_.npos && in_[end] == ')' && at_ > 0) return refuse("(?i) after the beginning");
    }
    copy(1);
    return {};
  }

  /// "{n}", "{n,}", "{n,m}", and Ruby's "{,m}"; anything else in braces is text.
  llmrt::Status interval() {
    size_t end = in_.find('}', at_);
    std::string_view inside =
        end == in_.npos ? std::string_view() : in_.substr(at_ + 1, end - at_ - 1);
    if (inside.empty() || inside == "," || inside.find_first_not_of("0123456789,") != inside.npos) {
      out_ += "\\{";
      ++at_;
      return {};
    }
    out_ += inside.starts_with(',') ? "{0" : "{";
    out_ += inside;
    out_ += '}';
    at_ = end + 1;
    if (follows("+")) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
    return {};
  }

  llmrt::Status classItem() {
    char c = in_[at_];
    if (c == '\\') return escape();
    if (c == ']') in_class_ = false;
    if (follows("&&")) return refuse("class intersection");
    if (c == '[') {
      size_t end = follows("[:") ? in_.find(":]", at_) : in_.npos;
      if (end == in_.npos) return refuse("a class within a class");
      std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
      std::string_view meaning = posixClass(name);
      if (meaning.empty()) {
        if (name.starts_with('^') && !posixClass(name.substr(1)).empty()) {
          return refuse("[:" + std::string(name) + ":]");
        }
        copy(end + 2 - at_);
        return {};
      }
      out_ += meaning;
      at_ = end + 2;
      return {};
    }
    copy(1);
    return {};
  }

  llmrt::Status escape() {
    if (at_ + 1 >= in_.size()) return refuse("a lone \\ at the end");
    char c = in_[at_ + 1];
    auto put = [&](std::string_view text) {
      out_ += text;
      at_ += 2;
      return llmrt::Status();
    };
    switch (c) {
      case 's':  // PCRE2 counts U+180E as a space
        return put("\\p{White_Space}");
      case 'S':
        return put("\\P{White_Space}");
      case 'd':
        return put("\\p{Nd}");
      case 'D':
        return put("\\P{Nd}");
      case 'w':
        return put(in_class_ ? std::string(kWord) : "[" + std::string(kWord) + "]");
      case 'W':
        if (in_class_) return refuse("\\W within a class");
        return put("[^" + std::string(kWord) + "]");
      case 'v':
        return put("\\x{0b}");
      case 'u': {
        std::string_view digits = in_.substr(at_ + 2, 4);
        if (digits.size() != 4) return refuse("\\u without four digits");
        out_ += "\\x{" + std::string(digits) + "}";
        at_ += 6;
        return {};
      }
      case 'n':
      case 'r':
      case 't':
      case 'f':
        copy(2);
        return {};
      case 'p':
      case 'P':
        return property();
      case 'x': {  // with what stands in braces after it
        size_t end = in_.substr(at_ + 2).starts_with('{') ? in_.find('}', at_) : in_.npos;
        copy(end == in_.npos ? 2 : end + 1 - at_);
        return {};
      }
      default:
        if (isAsciiAlnum(c)) return refuse(std::string("\\") + c);
        copy(2);
        return {};
    }
  }

  /// \p{Name}, \p{^Name}, \P{Name}, or \pX.
  llmrt::Status property() {
    size_t end = in_.substr(at_ + 2).starts_with('{') ? in_.find('}', at_) : in_.npos;
    if (end == in_.npos) {
      copy(2);
      return {};
    }
    size_t begin = at_ + 3;
    if (in_[begin] == '^') ++begin;
    std::string_view name = in_.substr(begin, end - begin);
    out_ += in_.substr(at_, begin - at_);
    if (isScript(name)) out_ += "sc:";
    out_.append(name).append("}");
    at_ = end + 1;
    return {};
  }

  std::string_view in_;
  std::string out_;
  size_t at_ = 0;
  size_t atom_ = 0;             // where the last atom begins in out_
  std::vector<size_t> groups_;  // where the open groups do
  bool in_class_ = false;
};

}  // namespace

Result<std::string> pcreFromOniguruma(std::string_view pattern) {
  // DeepSeek's split of trailing white space. As it stands, each of a run's characters begins a
  // search of the run for its end, which is quadratic; only the first can succeed, or what follows
  // a match, and behind a match there is nothing more to find in the run.
  if (pattern == R"(\s+$)") return Translator(R"((?<!\s)\s+$)").run();
  return Translator(pattern).run();
}

std::string escapeRegex(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !isAsciiAlnum(c)) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace llmc
