// The values of a template, with Python's meaning: what they are, equal and compare to.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/jinja/budget.h"

namespace llmrt::jinja {

class Dict;
class Object;
struct Sequence;
struct Text;

/// Immutable but for objects. What it points to is owned by the budget it was made of, which must
/// outlive it.
class Value {
 public:
  Value() = default;  // undefined, for no reason
  static Value none() { return Value(Held(None())); }
  static Value boolean(bool value) { return Value(Held(value)); }
  static Value integer(int64_t value) { return Value(Held(value)); }
  /// One that does not fit in 64 bits, canonical: integerOf() (big_integer.h) makes them.
  static Value bigInteger(Budget& budget, std::string_view digits);
  static Value number(double value) { return Value(Held(value)); }
  /// A copy of `text`. `markup`: what the `safe` filter makes; text added to it is escaped, as
  /// MarkupSafe does. Longer texts and sequences are made by the builders (builders.h).
  static Value string(Budget& budget, std::string_view text, bool markup = false);
  static Value tuple(Budget& budget, std::initializer_list<Value> items);
  static Value dict(Budget& budget, Dict dict);
  /// A new object, made of `arguments`.
  template <typename T, typename... Arguments>
  static Value object(Budget& budget, Arguments&&... arguments);
  /// `reason`: the message of who uses it, "'x' is undefined".
  static Value undefined(Budget& budget, std::string_view reason);

  bool isUndefined() const { return std::holds_alternative<Missing>(held_); }
  bool isNone() const { return std::holds_alternative<None>(held_); }
  bool isBool() const { return std::holds_alternative<bool>(held_); }
  bool isInt() const { return std::holds_alternative<int64_t>(held_); }  // no bool
  /// An integer beyond 64 bits, which is neither isInt() nor isNumber().
  bool isBigInt() const { return std::holds_alternative<Big>(held_); }
  bool isFloat() const { return std::holds_alternative<double>(held_); }
  bool isNumber() const { return isBool() || isInt() || isFloat(); }
  bool isString() const { return std::holds_alternative<const Text*>(held_); }

  bool asBool() const { return std::get<bool>(held_); }
  double asFloat() const { return std::get<double>(held_); }
  std::string_view bigDigits() const;  // of isBigInt()
  std::string_view asString() const;   // of a string
  bool isAscii() const;                // of a string: a code point is a byte
  bool isMarkup() const;               // of any value
  /// An int, or a bool, which Python takes for one.
  std::optional<int64_t> asInteger() const;
  double asNumber() const;                                                      // of a number
  const Sequence* asSequence() const { return heldOrNull<const Sequence*>(); }  // null: is none
  const Dict* asDict() const { return heldOrNull<const Dict*>(); }              // null: is none
  Object* asObject() const { return heldOrNull<Object*>(); }                    // null: is none
  /// Why it is undefined.
  std::string_view undefinedReason() const;
  /// Whether both are the very same object, or equal None, True, False, undefined.
  bool isSame(Budget& budget, const Value& other) const;

  /// Python's name of the type, as its errors have it.
  std::string typeName() const;
  /// Lists, tuples and dicts within one another; a string has none, nor has an object: whoever
  /// walks values goes no further than to it.
  int depth() const;

 private:
  friend class TextBuilder;
  friend Value joinTexts(Budget& budget, const Value& left, std::string_view right, bool markup);
  friend class ListBuilder;
  struct None {};
  struct Missing {
    const Text* reason;  // may be null
  };
  struct Big {
    const Text* digits;
  };
  using Held = std::variant<Missing, None, bool, int64_t, Big, double, const Text*, const Sequence*,
                            const Dict*, Object*>;
  explicit Value(Held held) : held_(held) {}
  template <typename T>
  T heldOrNull() const {
    const T* held = std::get_if<T>(&held_);
    return held ? *held : nullptr;
  }
  Held held_;
};

/// Texts that begin with one another may share bytes: see joinTexts() (builders.h).
struct Text {
  std::string bytes;
  bool ascii, markup;
  size_t size;            // of the text: bytes behind it are others'
  Text* owner = nullptr;  // whose bytes these are; null: its own
  bool grows = false;     // an owner with room behind its bytes
  std::string_view view() const {
    return std::string_view(owner ? owner->bytes : bytes).substr(0, size);
  }
};

/// Everything that is iterated in order.
struct Sequence {
  enum class Kind { kList, kTuple, kGroup, kRange, kKeys, kValues, kItems, kGenerator };
  Kind kind = Kind::kList;
  std::vector<Value> items;
  int depth = 1;
  /// A generator gives its items once.
  mutable size_t next = 0;
  int64_t start = 0, stop = 0, step = 1;  // of a range

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
  void set(Budget& budget, const Value& key, const Value& value);
  void set(Budget& budget, std::string_view key, const Value& value) {
    set(budget, Value::string(budget, key), value);
  }
  const Value* find(Budget& budget, const Value& key) const;
  const Value* find(Budget& budget, std::string_view key) const;

  const std::vector<std::pair<Value, Value>>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }

 private:
  const size_t* indexOf(Budget& budget, size_t hash, const Value& key) const;

  std::vector<std::pair<Value, Value>> entries_;
  // Hash of a key -> entry. Ordered: no choice of keys makes a long chain of one that is walked for
  // nothing, as in a table; equal hashes are paid for, a comparison each.
  std::multimap<size_t, size_t> index_;
  int depth_ = 1;
};

/// Names live as long as the template, or as the values.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

/// What is more than data: functions, macros, namespaces, loops.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string typeName() const = 0;
  virtual std::string repr() const;  // "<NAME object>"
  virtual std::optional<Value> attribute(Budget&, std::string_view) { return std::nullopt; }
  virtual bool callable() const { return false; }
  virtual Value call(Budget&, const Arguments&);
};

/// Owns what values point to. Nothing is freed before all is: what holds itself is no leak, and no
/// chain of values is too long to be freed.
class Heap {
 public:
  Text* add(Text text) { return &texts_.emplace_back(std::move(text)); }
  const Sequence* add(Sequence sequence) { return &sequences_.emplace_back(std::move(sequence)); }
  const Dict* add(Dict dict) { return &dicts_.emplace_back(std::move(dict)); }
  Object* add(std::unique_ptr<Object> object) {
    return objects_.emplace_back(std::move(object)).get();
  }

 private:
  std::deque<Text> texts_;
  std::deque<Sequence> sequences_;
  std::deque<Dict> dicts_;
  std::deque<std::unique_ptr<Object>> objects_;
};

/// A value with what owns it, outside of a rendering.
struct Document {
  std::unique_ptr<Budget> budget = std::make_unique<Budget>(Limits(), "the document");
  Value value;
};

template <typename T, typename... Arguments>
Value Value::object(Budget& budget, Arguments&&... arguments) {
  budget.reserve(sizeof(T) + sizeof(std::unique_ptr<Object>));
  Object* made = budget.heap().add(std::make_unique<T>(std::forward<Arguments>(arguments)...));
  return Value(Held(made));
}

/// Pays for looking once at all that `value` holds itself: bytes of a string, items, entries.
void payForLook(Budget& budget, const Value& value);

/// The depth of what holds values of `depth`; fails beyond the bound.
int depthAbove(int depth);

bool isTrue(const Value& value);
/// Python's ==.
bool equals(Budget& budget, const Value& a, const Value& b);
/// Negative, zero, positive; fails where Python's < does.
int compare(Budget& budget, const Value& a, const Value& b);

/// Fails, with the reason, where `value` is undefined: most uses of it are an error.
void requireDefined(const Value& value);
/// The items of anything iterable: characters of a string, keys of a dict; a generator's are then
/// gone. Fails on what is not iterable.
const std::vector<Value>& iterate(Budget& budget, const Value& value);
bool isIterable(const Value& value);
/// len(value); nullopt where it has none.
std::optional<int64_t> lengthOf(Budget& budget, const Value& value);

}  // namespace llmrt::jinja
