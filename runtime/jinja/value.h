// The values of a template, with Python's meaning: what they are, print as, equal and compare to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/jinja/budget.h"

namespace llmrt::jinja {

class Dict;
class Object;
struct Sequence;
struct Text;
struct Missing;

/// Immutable but for objects, cheap to copy.
class Value {
 public:
  Value() = default;  // undefined, for no reason
  static Value none();
  static Value boolean(bool value);
  static Value integer(int64_t value);
  static Value number(double value);
  /// `markup`: what the `safe` filter makes; text added to it is escaped, as MarkupSafe does.
  static Value string(std::string text, bool markup = false);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value sequence(Sequence sequence);
  static Value dict(Dict dict);
  static Value object(std::shared_ptr<Object> object);
  /// `reason`: the message of who uses it, "'x' is undefined".
  static Value undefined(std::string reason);

  bool isUndefined() const { return held_.index() == 0; }
  bool isNone() const { return std::holds_alternative<None>(held_); }
  bool isBool() const { return std::holds_alternative<bool>(held_); }
  bool isInt() const { return std::holds_alternative<int64_t>(held_); }  // no bool
  bool isFloat() const { return std::holds_alternative<double>(held_); }
  bool isNumber() const { return isBool() || isInt() || isFloat(); }
  bool isString() const { return std::holds_alternative<std::shared_ptr<const Text>>(held_); }

  bool asBool() const { return std::get<bool>(held_); }
  double asFloat() const { return std::get<double>(held_); }
  std::string_view asString() const;  // of a string
  bool isAscii() const;               // of a string: a code point is a byte
  bool isMarkup() const;              // of any value
  /// An int, or a bool, which Python takes for one.
  std::optional<int64_t> asInteger() const;
  double asNumber() const;             // of a number
  const Sequence* asSequence() const;  // null: is none; so the next two
  const Dict* asDict() const;
  Object* asObject() const;
  std::shared_ptr<const Sequence> sharedSequence() const;
  std::shared_ptr<Object> sharedObject() const;
  /// Why it is undefined.
  std::string undefinedReason() const;
  /// Whether both are the very same object, or equal None, True, False, undefined.
  bool isSame(const Value& other) const;

  /// Python's name of the type, as its errors have it.
  std::string typeName() const;
  /// Containers within containers; a string has none.
  int depth() const;

 private:
  struct None {};
  using Held = std::variant<std::shared_ptr<const Missing>, None, bool, int64_t, double,
                            std::shared_ptr<const Text>, std::shared_ptr<const Sequence>,
                            std::shared_ptr<const Dict>, std::shared_ptr<Object>>;
  explicit Value(Held held) : held_(std::move(held)) {}
  Held held_;
};

struct Missing {
  std::string reason;
};

struct Text {
  std::string bytes;
  bool ascii, markup;
};

/// Everything that is iterated in order.
struct Sequence {
  enum class Kind { kList, kTuple, kGroup, kRange, kKeys, kValues, kItems, kGenerator };
  Kind kind = Kind::kList;
  std::vector<Value> items;
  int depth = 1;
  /// A generator gives its items once.
  mutable size_t next = 0;

  bool isList() const { return kind == Kind::kList; }
  /// A group is a tuple, too, of what `groupby` makes: (grouper, list).
  bool isTuple() const { return kind == Kind::kTuple || kind == Kind::kGroup; }
  bool isGenerator() const { return kind == Kind::kGenerator; }
  bool isView() const { return kind >= Kind::kKeys && kind <= Kind::kItems; }
};

/// In the order in which keys came first.
class Dict {
 public:
  /// Replaces the value of a key that is there. Fails on keys Python cannot hash.
  void set(Budget& budget, Value key, Value value);
  void set(std::string key, Value value);
  const Value* find(Budget& budget, const Value& key) const;
  const Value* find(std::string_view key) const;

  const std::vector<std::pair<Value, Value>>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }

 private:
  const size_t* indexOf(Budget& budget, size_t hash, const Value& key) const;
  void insert(size_t hash, Value key, Value value);

  std::vector<std::pair<Value, Value>> entries_;
  std::unordered_multimap<size_t, size_t> index_;  // hash of a key -> entry
  int depth_ = 1;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// What is more than data: functions, macros, namespaces, loops.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string typeName() const = 0;
  virtual std::string repr() const;  // "<NAME object>"
  virtual std::optional<Value> attribute(const std::string&) { return std::nullopt; }
  virtual bool callable() const { return false; }
  /// As Value::depth() of what it holds.
  virtual int depth() const { return 0; }
  virtual Value call(Budget&, Arguments&);
};

/// The depth of what holds values of `depth`; fails beyond the bound.
int depthAbove(int depth);

bool isTrue(const Value& value);
/// Python's ==.
bool equals(Budget& budget, const Value& a, const Value& b);
/// Negative, zero, positive; fails where Python's < does.
int compare(Budget& budget, const Value& a, const Value& b);
/// Appends str(value).
void appendString(TextBuilder& out, const Value& value);
void appendRepr(TextBuilder& out, const Value& value);
/// str(value). A string's own bytes: no copy is charged.
std::string toString(Budget& budget, const Value& value);
/// repr() of a float, as JSON has it too.
std::string floatText(double value);

/// Fails, with the reason, where `value` is undefined: most uses of it are an error.
void requireDefined(const Value& value);
/// The items of anything iterable: characters of a string, keys of a dict; a generator's are then
/// gone. Fails on what is not iterable.
std::shared_ptr<const Sequence> iterate(Budget& budget, const Value& value);
bool isIterable(const Value& value);
/// len(value); nullopt where it has none.
std::optional<int64_t> lengthOf(Budget& budget, const Value& value);

}  // namespace llmrt::jinja
