#include "runtime/jinja/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/io/json.h"
#include "runtime/jinja/big_integer.h"
#include "runtime/jinja/builders.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

constexpr size_t kMaxDepth = 64;

// Builds values as the parser meets them: nlohmann's own would lose the order of keys.
class ValueBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return add(Value::none()); }
  bool boolean(bool value) override { return add(Value::boolean(value)); }
  bool number_integer(int64_t value) override { return add(Value::integer(value)); }
  bool number_unsigned(uint64_t value) override {
    return add(integerOf(budget(), std::to_string(value)));
  }
  bool number_float(double value, const std::string& text) override {
    // An integer that does not fit in 64 bits comes as a float, too.
    if (text.find_first_of(".eE") == std::string::npos) return add(integerOf(budget(), text));
    return add(Value::number(value));
  }
  bool string(std::string& value) override { return add(Value::string(budget(), value)); }
  bool binary(nlohmann::json::binary_t&) override { return refuse("binary data"); }
  bool start_object(size_t) override { return open(false); }
  bool start_array(size_t) override { return open(true); }
  bool key(std::string& key) override {
    open_.back().key = std::move(key);
    return true;
  }
  bool end_object() override {
    Dict dict = std::move(open_.back().dict);
    open_.pop_back();
    return add(Value::dict(budget(), std::move(dict)));
  }
  bool end_array() override {
    const Value list = open_.back().items.list();
    open_.pop_back();
    return add(list);
  }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    return refuse("malformed JSON: " + jsonErrorText(error));
  }

  Document result;
  std::string error;

 private:
  struct Open {
    bool is_list;
    ListBuilder items;
    Dict dict;
    std::string key;
  };

  bool refuse(std::string why) {
    error = std::move(why);
    return false;
  }
  bool open(bool is_list) {
    if (open_.size() >= kMaxDepth)
      return refuse(fmt::format("JSON nested deeper than {}", kMaxDepth));
    open_.push_back({is_list, ListBuilder(budget()), {}, {}});
    return true;
  }
  Budget& budget() { return *result.budget; }
  bool add(const Value& value) {
    if (open_.empty()) {
      result.value = value;
    } else if (open_.back().is_list) {
      open_.back().items.add(value);
    } else {
      open_.back().dict.set(budget(), open_.back().key, value);
    }
    return true;
  }

  std::vector<Open> open_;
};

void appendJsonString(TextBuilder& out, std::string_view text, bool ensure_ascii) {
  out.append("\"");
  for (size_t i = 0; i < text.size();) {
    const char32_t c = codePointAt(text, i);
    const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
    constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
    const size_t simple = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : std::string_view::npos;
    if (simple != std::string_view::npos) {
      out.append(1, '\\');
      out.append(1, kNames[simple]);
    } else if (c < 0x20 || (ensure_ascii && c >= 0x7f)) {
      const auto code = static_cast<uint32_t>(c);
      if (code < 0x10000) {
        out.append(fmt::format("\\u{:04x}", code));
      } else {
        out.append(fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10),
                               0xdc00 + ((code - 0x10000) & 0x3ff)));
      }
    } else {
      out.append(text.substr(i, length));
    }
    i += length;
  }
  out.append("\"");
}

bool isAnyNumber(const Value& value) { return value.isNumber() || value.isBigInt(); }

std::string numberText(const Value& value) {
  if (value.isBigInt()) return std::string(value.bigDigits());
  if (!value.isFloat()) return std::to_string(*value.asInteger());
  if (std::isnan(value.asFloat())) return "NaN";
  if (std::isinf(value.asFloat())) return value.asFloat() < 0 ? "-Infinity" : "Infinity";
  return floatText(value.asFloat());
}

class Writer {
 public:
  Writer(TextBuilder& out, const JsonStyle& style) : out_(out), style_(style) {}

  void write(const Value& value, int depth) {
    out_.budget().step();
    if (value.isString()) return appendJsonString(out_, value.asString(), style_.ensure_ascii);
    if (value.isNone()) return out_.append("null");
    if (value.isBool()) return out_.append(value.asBool() ? "true" : "false");
    if (isAnyNumber(value)) return out_.append(numberText(value));
    if (const Dict* dict = value.asDict()) return writeDict(*dict, depth);
    const Sequence* s = value.asSequence();
    if (!s || (!s->isList() && !s->isTuple()))
      fail(fmt::format("Object of type {} is not JSON serializable", value.typeName()));
    if (s->items.empty()) return out_.append("[]");
    out_.append("[");
    for (size_t i = 0; i < s->items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      newLine(depth + 1);
      write(s->items[i], depth + 1);
    }
    newLine(depth);
    out_.append("]");
  }

 private:
  void newLine(int depth) {
    if (!style_.indent) return;
    out_.append("\n");
    for (int i = 0; i < depth; ++i) out_.append(*style_.indent);
  }

  void writeKey(const Value& key) {
    if (key.isString()) return appendJsonString(out_, key.asString(), style_.ensure_ascii);
    if (key.isNone()) return out_.append("\"null\"");
    if (key.isBool()) return out_.append(key.asBool() ? "\"true\"" : "\"false\"");
    if (isAnyNumber(key)) return out_.append(fmt::format("\"{}\"", numberText(key)));
    fail(fmt::format("keys must be strings, numbers, booleans or None, not {}", key.typeName()));
  }

  void writeDict(const Dict& dict, int depth) {
    if (dict.size() == 0) return out_.append("{}");
    std::vector<const std::pair<Value, Value>*> entries;
    out_.budget().reserve(dict.size(), sizeof(entries[0]));
    for (const auto& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [this](const auto* a, const auto* b) {
        return compare(out_.budget(), a->first, b->first) < 0;
      });
    }
    out_.append("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      newLine(depth + 1);
      writeKey(entries[i]->first);
      out_.append(style_.key_separator);
      write(entries[i]->second, depth + 1);
    }
    newLine(depth);
    out_.append("}");
  }

  TextBuilder& out_;
  const JsonStyle& style_;
};

}  // namespace

Result<Document> parseJsonValue(std::string_view text, const std::string& name) {
  ValueBuilder builder;
  try {
    if (nlohmann::json::sax_parse(text, &builder)) return std::move(builder.result);
  } catch (const Failure& failure) {
    return invalidData(name + ": " + failure.message);
  } catch (const std::bad_alloc&) {
    return outOfMemory(name + ": not enough memory for its JSON");
  }
  return invalidData(name + ": " + builder.error);
}

Value jsonText(Budget& budget, const Value& value, const JsonStyle& style) {
  TextBuilder out(budget);
  Writer(out, style).write(value, 0);
  return out.value();
}

}  // namespace llmrt::jinja
