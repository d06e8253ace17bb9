// Filters of lists, dicts and everything else that is iterated. What is lazy in Jinja2 is made at
// once here and marked as a generator, which can be iterated once and has no length.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"

namespace llmrt::jinja {
namespace {

Value generator(std::vector<Value> items) {
  return Value::sequence({.kind = Sequence::Kind::kGenerator, .items = std::move(items)});
}

std::vector<Value> itemsOf(Budget& budget, const Value& input) {
  const auto items = iterate(budget, input);
  budget.step(items->items.size());
  budget.reserve(items->items.size(), sizeof(Value));
  return items->items;
}

// "a.b.0": an item's attribute of an attribute. None and nothing: the item itself.
Value attributeOf(Budget& budget, Value item, const Value& path, const Value& otherwise = Value()) {
  if (path.isNone()) return item;
  if (!path.isString()) {
    item = getItem(budget, item, path);
    return item.isUndefined() && !otherwise.isUndefined() ? otherwise : item;
  }
  std::string_view rest = path.asString();
  for (bool more = true; more;) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    more = dot != std::string_view::npos;
    if (more) rest.remove_prefix(dot + 1);
    int64_t index = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool number =
        !part.empty() && part[0] != '-' && error == std::errc() && end == part.data() + part.size();
    item = getItem(budget, item, number ? Value::integer(index) : Value::string(std::string(part)));
    if (item.isUndefined() && !otherwise.isUndefined()) item = otherwise;
  }
  return item;
}

// What a sort, unique and the like look at: an attribute, in lower case unless cases differ.
Value keyOf(Budget& budget, const Value& item, const Value& path, bool case_sensitive) {
  Value key = attributeOf(budget, item, path);
  if (case_sensitive || !key.isString()) return key;
  budget.reserve(key.asString().size());
  return Value::string(toLower(key.asString()));
}

Value list(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("list", arguments, {});
  return Value::list(itemsOf(budget, input));
}

Value length(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("length", arguments, {});
  const auto length = lengthOf(budget, input);
  if (!length) fail(fmt::format("object of type '{}' has no len()", input.typeName()));
  return Value::integer(*length);
}

Value first(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("first", arguments, {});
  const Sequence* s = input.asSequence();
  if (s && s->isGenerator() && s->next < s->items.size()) return s->items[s->next++];
  const auto items = iterate(budget, input);
  return items->items.empty() ? Value::undefined("no first item, the sequence was empty")
                              : items->items.front();
}

Value last(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("last", arguments, {});
  if (const Sequence* s = input.asSequence(); s && s->isGenerator())
    fail("'generator' object is not reversible");
  const auto items = iterate(budget, input);
  return items->items.empty() ? Value::undefined("no last item, the sequence was empty")
                              : items->items.back();
}

Value join(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("join", arguments, {"d", "attribute"});
  const std::string separator = p.has(0) ? toString(budget, p[0]) : "";
  const Value path = p.valueOr(1, Value::none());
  TextBuilder out(budget);
  bool more = false;
  for (const Value& item : itemsOf(budget, input)) {
    if (std::exchange(more, true)) out.append(separator);
    appendString(out, attributeOf(budget, item, path));
  }
  return Value::string(out.take());
}

Value items(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("items", arguments, {});
  if (input.isUndefined()) return generator({});
  if (!input.asDict()) fail("can only get item pairs from a mapping");
  budget.reserve(input.asDict()->size(), 4 * sizeof(Value));
  std::vector<Value> pairs;
  for (const auto& [key, value] : input.asDict()->entries())
    pairs.push_back(Value::tuple({key, value}));
  return generator(std::move(pairs));
}

// Sorted by `keys` (one per item), stably; reversed order keeps equal items as they were, too.
std::vector<Value> sorted(Budget& budget, const std::vector<Value>& items,
                          const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int c = compare(budget, keys[a], keys[b]);
    return reverse ? c > 0 : c < 0;
  });
  std::vector<Value> out;
  for (size_t i : order) out.push_back(items[i]);
  return out;
}

// "a,b": items are sorted by several attributes.
Value sortKey(Budget& budget, const Value& item, const Value& path, bool case_sensitive) {
  if (!path.isString() || path.asString().find(',') == std::string_view::npos)
    return keyOf(budget, item, path, case_sensitive);
  std::vector<Value> keys;
  std::string_view rest = path.asString();
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    keys.push_back(
        keyOf(budget, item, Value::string(std::string(rest.substr(0, comma))), case_sensitive));
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
  }
  return Value::list(std::move(keys));
}

Value sort(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const std::vector<Value> items = itemsOf(budget, input);
  std::vector<Value> keys;
  for (const Value& item : items)
    keys.push_back(sortKey(budget, item, p.valueOr(2, Value::none()), p.flag(1)));
  return Value::list(sorted(budget, items, keys, p.flag(0)));
}

Value dictsort(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string_view by = p.text(1, "key");
  if (by != "key" && by != "value") fail("dictsort() takes by='key' or by='value'");
  requireDefined(input);
  if (!input.asDict()) fail(fmt::format("'{}' object has no attribute 'items'", input.typeName()));
  std::vector<Value> items, keys;
  budget.reserve(input.asDict()->size(), 8 * sizeof(Value));
  for (const auto& [key, value] : input.asDict()->entries()) {
    items.push_back(Value::tuple({key, value}));
    keys.push_back(keyOf(budget, by == "key" ? key : value, Value::none(), p.flag(0)));
  }
  return Value::list(sorted(budget, items, keys, p.flag(2)));
}

Value unique(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("unique", arguments, {"case_sensitive", "attribute"});
  Dict seen;
  std::vector<Value> out;
  for (const Value& item : itemsOf(budget, input)) {
    const Value key = keyOf(budget, item, p.valueOr(1, Value::none()), p.flag(0));
    if (seen.find(budget, key)) continue;
    seen.set(budget, key, Value::none());
    out.push_back(item);
  }
  return generator(std::move(out));
}

template <bool kMax>
Value extreme(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p(kMax ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const std::vector<Value> items = itemsOf(budget, input);
  if (items.empty()) return Value::undefined("no aggregated item, the sequence was empty");
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    Value key = keyOf(budget, items[i], p.valueOr(1, Value::none()), p.flag(0));
    const int order = i == 0 ? 0 : compare(budget, key, best_key);
    if (i == 0 || (kMax ? order > 0 : order < 0)) best = i, best_key = std::move(key);
  }
  return items[best];
}

Value sum(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("sum", arguments, {"attribute", "start"});
  Value total = p.valueOr(1, Value::integer(0));
  for (const Value& item : itemsOf(budget, input)) {
    total = applyOperator(budget, Operator::kAdd, total,
                          attributeOf(budget, item, p.valueOr(0, Value::none())));
  }
  return total;
}

Value reverse(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("reverse", arguments, {});
  if (input.isString()) {
    const Value back = Value::integer(-1);
    return getSlice(budget, input, nullptr, nullptr, &back);
  }
  std::vector<Value> items = itemsOf(budget, input);
  std::reverse(items.begin(), items.end());
  return generator(std::move(items));
}

// The arguments behind the first `n`.
Arguments argumentsAfter(const Arguments& arguments, size_t n) {
  return {{arguments.positional.begin() + static_cast<ptrdiff_t>(n), arguments.positional.end()},
          arguments.named};
}

Value map(Budget& budget, const Value& input, const Arguments& arguments) {
  if (!isTrue(input)) return generator({});  // whatever it is
  std::vector<Value> items = itemsOf(budget, input);
  if (arguments.positional.empty()) {
    const Parameters p("map", arguments, {"attribute", "default"}, 1);
    for (Value& item : items)
      item = attributeOf(budget, std::move(item), p[0], p.valueOr(1, Value()));
  } else {
    if (!arguments.positional[0].isString()) fail("map() takes a filter's name");
    const Filter filter = requireFilter(arguments.positional[0].asString());
    const Arguments rest = argumentsAfter(arguments, 1);
    const Budget::Nesting nesting(budget);  // map('map', 'map', ...)
    for (Value& item : items) item = filter(budget, item, rest);
  }
  return generator(std::move(items));
}

// select, reject, and both by an attribute: the items for which a test, or else their truth, is
// kWanted.
template <bool kWanted, bool kByAttribute>
Value select(Budget& budget, const Value& input, const Arguments& arguments) {
  if (!isTrue(input)) return generator({});  // whatever it is
  const size_t skip = kByAttribute ? 1 : 0;
  const auto& positional = arguments.positional;
  if (positional.size() < skip) fail("selectattr() and rejectattr() take an attribute's name");
  const Value path = kByAttribute ? positional[0] : Value::none();
  Test test = nullptr;
  Arguments rest;
  if (positional.size() > skip) {
    if (!positional[skip].isString()) fail("select() takes a test's name");
    test = requireTest(positional[skip].asString());
    rest = argumentsAfter(arguments, skip + 1);
  }
  std::vector<Value> out;
  for (const Value& item : itemsOf(budget, input)) {
    const Value looked_at = attributeOf(budget, item, path);
    if ((test ? test(budget, looked_at, rest) : isTrue(looked_at)) == kWanted) out.push_back(item);
  }
  return generator(std::move(out));
}

Value groupby(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const std::vector<Value> items = itemsOf(budget, input);
  std::vector<Value> pairs, keys;
  for (const Value& item : items) {
    const Value group = attributeOf(budget, item, p[0], p.valueOr(1, Value()));
    pairs.push_back(Value::tuple({group, item}));
    keys.push_back(keyOf(budget, group, Value::none(), p.flag(2)));
  }
  std::vector<Value> sorted_keys = sorted(budget, keys, keys, false);
  pairs = sorted(budget, pairs, keys, false);
  std::vector<Value> groups;
  for (size_t begin = 0, end = 0; begin < pairs.size(); begin = end) {
    std::vector<Value> members;
    for (; end < pairs.size() && equals(budget, sorted_keys[end], sorted_keys[begin]); ++end)
      members.push_back(pairs[end].asSequence()->items[1]);
    groups.push_back(Value::sequence(
        {.kind = Sequence::Kind::kGroup,
         .items = {pairs[begin].asSequence()->items[0], Value::list(std::move(members))}}));
  }
  return Value::list(std::move(groups));
}

Value batch(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = p.integer(0, 1);
  if (size < 1) fail("batch() takes a positive size");
  std::vector<Value> rows, row;
  for (const Value& item : itemsOf(budget, input)) {
    if (static_cast<int64_t>(row.size()) == size)
      rows.push_back(Value::list(std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (!p.isNone(1)) {
      budget.reserve(static_cast<uint64_t>(size), sizeof(Value));
      row.resize(static_cast<size_t>(size), p[1]);
    }
    rows.push_back(Value::list(std::move(row)));
  }
  return generator(std::move(rows));
}

Value slice(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t slices = p.integer(0, 1);
  if (slices < 1) fail("slice() takes a positive number");
  const std::vector<Value> items = itemsOf(budget, input);
  const auto length = static_cast<int64_t>(items.size());
  budget.reserve(static_cast<uint64_t>(slices), 2 * sizeof(Value));
  std::vector<Value> columns;
  auto next = items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    const bool longer = i < length % slices;
    std::vector<Value> column(next, next + (length / slices + longer));
    next += length / slices + longer;
    if (!p.isNone(1) && !longer) column.push_back(p[1]);
    columns.push_back(Value::list(std::move(column)));
  }
  return generator(std::move(columns));
}

struct Entry {
  std::string_view name;
  Filter filter;
};
constexpr Entry kFilters[] = {
    {"batch", batch},
    {"count", length},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", groupby},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", list},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"reverse", reverse},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
    {"slice", slice},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

Filter findSequenceFilter(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                   [name](const Entry& e) { return e.name == name; });
  return found == std::end(kFilters) ? nullptr : found->filter;
}

}  // namespace llmrt::jinja
