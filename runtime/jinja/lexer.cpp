#include "runtime/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "runtime/io/printable.h"
#include "runtime/jinja/budget.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

// Each becomes a node or two of a few hundred bytes. The longest template in use has a tenth of so
// many.
constexpr size_t kMaxTokens = 250'000;

// "\r\n" and "\r" are newlines too; one at the end of the template is not part of it.
std::string normalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<signed char>(c) < 0;  // checked by code point where the name is read
}

class Lexer {
 public:
  Lexer(std::string_view source, int& line) : source_(normalizeNewlines(source)), line_(line) {
    line_ = 1;
  }

  std::vector<Token> run() {
    while (pos_ < source_.size()) lexText();
    add(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(pos_); }
  bool at(std::string_view text) const { return rest().starts_with(text); }

  void advance(size_t bytes) {
    line_ +=
        static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(pos_),
                                    source_.begin() + static_cast<ptrdiff_t>(pos_ + bytes), '\n'));
    line_starting_ = bytes > 0 ? source_[pos_ + bytes - 1] == '\n' : line_starting_;
    pos_ += bytes;
  }
  void skipSpace() { advance(rest().size() - stripLeft(rest()).size()); }

  Token& add(Token::Kind kind, std::string text) {
    if (tokens_.size() >= kMaxTokens)
      fail(fmt::format("the template is too long: the limit is {} tokens", kMaxTokens));
    tokens_.push_back({.kind = kind, .line = line_, .text = std::move(text)});
    return tokens_.back();
  }

  // Text up to the next tag, and that tag.
  void lexText() {
    const size_t tag = nextTag(pos_);
    const bool line_started = line_starting_;
    const std::string_view text = rest().substr(0, tag - pos_);
    const char kind = tag < source_.size() ? source_[tag + 1] : '\0';
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const std::string_view kept = keptBefore(text, kind, sign, line_started);
    if (!kept.empty()) add(Token::Kind::kText, std::string(kept));
    advance(text.size());
    if (tag == source_.size()) return;
    if (kind == '%' && lexRaw()) return;
    advance(2 + ((sign == '-' || sign == '+') ? 1 : 0));
    if (kind == '#') return lexComment();
    lexTag(kind == '%');
  }

  size_t nextTag(size_t from) const {
    for (;; ++from) {
      from = source_.find('{', from);
      if (from == std::string::npos || from + 1 >= source_.size()) return source_.size();
      const char next = source_[from + 1];
      if (next == '%' || next == '{' || next == '#') return from;
    }
  }

  // The part of `text` before a tag that stays: "-" strips all white space, lstrip_blocks the
  // indentation of a tag that is the first thing in its line, unless "+" keeps it.
  static std::string_view keptBefore(std::string_view text, char kind, char sign,
                                     bool line_started) {
    if (kind == '\0') return text;
    if (sign == '-') return stripRight(text);
    if (sign == '+' || kind == '{') return text;
    const size_t newline = text.rfind('\n');
    if (newline == std::string_view::npos && !line_started) return text;
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    return stripLeft(text.substr(line)).empty() ? text.substr(0, line) : text;
  }

  // A tag's end at `offset` from here: its length with the white space it takes along, 0 if there
  // is none. "-" takes all of it, otherwise trim_blocks a newline.
  size_t endLength(std::string_view end, size_t offset, bool trim_blocks) const {
    const std::string_view here = rest().substr(offset);
    if (here.starts_with('-') && here.substr(1).starts_with(end)) {
      const std::string_view after = here.substr(1 + end.size());
      return 1 + end.size() + (after.size() - stripLeft(after).size());
    }
    if (trim_blocks && here.starts_with('+') && here.substr(1).starts_with(end))
      return 1 + end.size();
    if (!here.starts_with(end)) return 0;
    return end.size() + (trim_blocks && here.substr(end.size()).starts_with('\n'));
  }

  void lexComment() {
    const size_t end = rest().find("#}");
    if (end == std::string_view::npos) fail("missing end of comment tag");
    const bool signed_end = end > 0 && (rest()[end - 1] == '-' || rest()[end - 1] == '+');
    advance(end - signed_end);
    advance(endLength("#}", 0, true));
  }

  // {% raw %} ... {% endraw %}: false, with nothing taken, where no raw begins here.
  bool lexRaw() {
    const size_t begin = pos_;
    const int line = line_;
    const bool line_starting = line_starting_;
    const auto word = [this](std::string_view name) {
      advance(2);
      if (at("-") || at("+")) advance(1);
      skipSpace();
      if (!at(name)) return false;
      advance(name.size());
      skipSpace();
      return true;
    };
    if (!word("raw") || endLength("%}", 0, false) == 0) {
      pos_ = begin, line_ = line, line_starting_ = line_starting;
      return false;
    }
    advance(endLength("%}", 0, false));
    const size_t text_begin = pos_;
    const bool text_line_starting = line_starting_;
    if (rest().empty()) return true;  // as Jinja2 has it, this needs no end
    for (;;) {
      const size_t tag = rest().find("{%");
      if (tag == std::string_view::npos) fail("missing end of raw directive");
      advance(tag);
      const size_t text_end = pos_;
      const char sign = rest().size() > 2 ? rest()[2] : '\0';
      if (!word("endraw") || endLength("%}", 0, true) == 0) continue;
      const std::string_view text =
          std::string_view(source_).substr(text_begin, text_end - text_begin);
      const std::string_view kept = keptBefore(text, '%', sign, text_line_starting);
      if (!kept.empty()) add(Token::Kind::kText, std::string(kept));
      advance(endLength("%}", 0, true));
      return true;
    }
  }

  void lexTag(bool is_block) {
    const std::string_view end = is_block ? "%}" : "}}";
    add(is_block ? Token::Kind::kBlockBegin : Token::Kind::kVariableBegin, is_block ? "{%" : "{{");
    std::string open;  // the closing brackets that are due
    for (;;) {
      if (open.empty()) {
        if (const size_t length = endLength(end, 0, is_block)) {
          add(is_block ? Token::Kind::kBlockEnd : Token::Kind::kVariableEnd, std::string(end));
          advance(length);
          return;
        }
      }
      skipSpace();
      if (rest().empty()) fail(fmt::format("unexpected end of template, expected '{}'", end));
      if (open.empty() && endLength(end, 0, is_block) > 0) continue;
      lexToken(open);
    }
  }

  void lexToken(std::string& open) {
    const char c = rest()[0];
    if (isDigit(c)) return lexNumber();
    if (isNameStart(c)) return lexName();
    if (c == '\'' || c == '"') return lexString(c);
    for (std::string_view two : {"//", "**", "==", "!=", ">=", "<="}) {
      if (at(two)) {
        add(Token::Kind::kOperator, std::string(two));
        return advance(2);
      }
    }
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      fail(fmt::format("unexpected character {}", quotedName(rest().substr(0, 1))));
    if (c == '(') open += ')';
    if (c == '[') open += ']';
    if (c == '{') open += '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c)
        fail(open.empty() ? fmt::format("unexpected '{}'", c)
                          : fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      open.pop_back();
    }
    add(Token::Kind::kOperator, std::string(1, c));
    advance(1);
  }

  void lexName() {
    size_t end = 0;
    while (end < rest().size()) {
      const char c = rest()[end];
      if (!isNameStart(c) && !isDigit(c)) break;
      if (static_cast<signed char>(c) < 0) {
        const char32_t code_point = codePointAt(rest(), end);
        if (end == 0 ? !isAlpha(code_point) : !isAlnum(code_point)) {
          if (end == 0) fail("unexpected character outside of a string");
          break;
        }
      }
      end += utf8Length(static_cast<unsigned char>(c));
    }
    add(Token::Kind::kName, std::string(rest().substr(0, end)));
    advance(end);
  }

  // Digits, with a single underscore allowed between two; their length.
  template <typename IsDigit>
  size_t digitsAt(size_t offset, IsDigit is_digit) const {
    size_t end = offset;
    while (end < rest().size()) {
      if (is_digit(rest()[end])) {
        ++end;
      } else if (end > offset && rest()[end] == '_' && end + 1 < rest().size() &&
                 is_digit(rest()[end + 1])) {
        ++end;
      } else {
        break;
      }
    }
    return end - offset;
  }

  void lexNumber() {
    size_t end = digitsAt(0, isDigit);
    if (rest()[0] == '0' && end == 1 && rest().size() > 2) {
      const char prefix = static_cast<char>(rest()[1] | 0x20);
      const int base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
      if (base != 10) {
        const size_t length = digitsAt(2, [base](char c) {
          const int digit = isDigit(c) ? c - '0' : (c | 0x20) >= 'a' ? (c | 0x20) - 'a' + 10 : 99;
          return digit < base;
        });
        if (length > 0) return addInteger(2, 2 + length, base);
      }
    }
    const size_t integer_end = end;
    if (end < rest().size() && rest()[end] == '.') {
      const size_t fraction = digitsAt(end + 1, isDigit);
      if (fraction > 0) end += 1 + fraction;
    }
    if (end < rest().size() && (rest()[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < rest().size() && (rest()[exponent] == '+' || rest()[exponent] == '-'))
        ++exponent;
      const size_t digits = digitsAt(exponent, isDigit);
      if (digits > 0) end = exponent + digits;
    }
    if (end == integer_end) return addInteger(0, end, 10);
    const std::string digits = withoutUnderscores(0, end);
    Token& token = add(Token::Kind::kFloat, digits);
    token.number = std::strtod(digits.c_str(), nullptr);
    advance(end);
  }

  std::string withoutUnderscores(size_t begin, size_t end) const {
    std::string digits(rest().substr(begin, end - begin));
    std::erase(digits, '_');
    return digits;
  }

  void addInteger(size_t begin, size_t end, int base) {
    const std::string digits = withoutUnderscores(begin, end);
    Token& token = add(Token::Kind::kInteger, digits);
    const auto [ptr, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), token.integer, base);
    // Decimal digits beyond 64 bits stay what they are, the token's text.
    token.fits = error == std::errc();
    if (!token.fits && base != 10)
      fail(fmt::format("the number {} is too large", quotedName(digits)));
    if (base == 10 && digits.size() > 1 && digits[0] == '0' &&
        digits.find_first_not_of('0') != std::string::npos)
      fail(fmt::format("the number {} has a leading zero", quotedName(digits)));
    advance(end);
  }

  void lexString(char quote) {
    Token& token = add(Token::Kind::kString, "");
    std::string out;
    size_t i = 1;
    const std::string_view text = rest();
    for (;; ++i) {
      if (i >= text.size()) fail("a string has no end");
      if (text[i] == quote) break;
      if (text[i] != '\\') {
        out += text[i];
      } else {
        if (++i >= text.size()) fail("a string has no end");
        i = appendEscape(text, i, out);
      }
    }
    token.text = std::move(out);
    advance(i + 1);
  }

  // Python's escapes; the one at text[i] (behind the backslash). Returns the index of its last
  // byte.
  static size_t appendEscape(std::string_view text, size_t i, std::string& out) {
    constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
    const char c = text[i];
    if (c == '\n') return i;
    if (const size_t simple = kFrom.find(c); simple != std::string_view::npos) {
      out += kTo[simple];
      return i;
    }
    if (c >= '0' && c <= '7') {
      uint32_t code = 0;
      size_t n = 0;
      for (; n < 3 && i + n < text.size() && text[i + n] >= '0' && text[i + n] <= '7'; ++n)
        code = code * 8 + static_cast<uint32_t>(text[i + n] - '0');
      appendUtf8(code, out);
      return i + n - 1;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {  // none of Python's: the backslash stays
      out += '\\';
      out += c;
      return i;
    }
    uint32_t code = 0;
    const std::string_view hex = text.substr(i + 1, digits);
    const auto [ptr, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    if (hex.size() < digits || error != std::errc() || ptr != hex.data() + digits)
      fail(fmt::format("a string has an escape \\{} without {} hexadecimal digits", c, digits));
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      fail("a string has an escape that is no character");
    appendUtf8(code, out);
    return i + digits;
  }

  const std::string source_;
  int& line_;
  size_t pos_ = 0;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, int& line) {
  return Lexer(source, line).run();
}

}  // namespace llmrt::jinja
