// Filters of lists, dicts and everything else that is iterated. What is lazy in Jinja2 is made at
// once here and marked as a generator, which can be iterated once and has no length.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <iterator>
#include <optional>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/builders.h"
#include "runtime/jinja/filters.h"
#include "runtime/jinja/operations.h"
#include "runtime/jinja/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

Value generator(ListBuilder& items) { return items.sequence(Sequence::Kind::kGenerator); }

// What a filter will look at one by one.
const std::vector<Value>& itemsOf(Budget& budget, const Value& input) {
  const std::vector<Value>& items = iterate(budget, input);
  budget.step(items.size());
  return items;
}

// "a.b.0": an item's attribute of an attribute. None and nothing: the item itself.
Value attributeOf(Budget& budget, Value item, const Value& path, const Value& otherwise = Value()) {
  if (path.isNone()) return item;
  payForLook(budget, path);
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
    item = getItem(budget, item, number ? Value::integer(index) : Value::string(budget, part));
    if (item.isUndefined() && !otherwise.isUndefined()) item = otherwise;
  }
  return item;
}

// What a sort, unique and the like look at: an attribute, in lower case unless cases differ.
Value keyOf(Budget& budget, const Value& item, const Value& path, bool case_sensitive) {
  Value key = attributeOf(budget, item, path);
  if (case_sensitive || !key.isString()) return key;
  TextBuilder lowered(budget);
  appendLower(lowered, key.asString());
  return lowered.value();
}

Value list(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("list", arguments, {});
  ListBuilder out(budget);
  out.addAll(iterate(budget, input));
  return out.list();
}

Value length(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("length", arguments, {});
  const auto length = lengthOf(budget, input);
  if (!length) fail(fmt::format("object of type '{}' has no len()", input.typeName()));
  return Value::integer(*length);
}

// The first or last item of what is iterable, without making all of them; nullopt: there is none.
std::optional<Value> endOf(Budget& budget, const Value& input, bool first) {
  if (input.isString() && !input.asString().empty()) {
    const std::string_view text = input.asString();
    const size_t begin = first ? 0 : previousCharacter(text, text.size());
    const size_t length = utf8Length(static_cast<unsigned char>(text[begin]));
    return Value::string(budget, text.substr(begin, length), input.isMarkup());
  }
  if (const Dict* dict = input.asDict(); dict && dict->size() > 0)
    return first ? dict->entries().front().first : dict->entries().back().first;
  const std::vector<Value>& items = iterate(budget, input);
  if (items.empty()) return std::nullopt;
  return first ? items.front() : items.back();
}

Value first(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("first", arguments, {});
  const Sequence* s = input.asSequence();
  if (s && s->isGenerator() && s->next < s->items.size()) return s->items[s->next++];
  if (const auto end = endOf(budget, input, true)) return *end;
  return Value::undefined(budget, "no first item, the sequence was empty");
}

Value last(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("last", arguments, {});
  if (const Sequence* s = input.asSequence(); s && s->isGenerator())
    fail("'generator' object is not reversible");
  if (const auto end = endOf(budget, input, false)) return *end;
  return Value::undefined(budget, "no last item, the sequence was empty");
}

Value join(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("join", arguments, {"d", "attribute"});
  const Value separator = p.has(0) ? toText(budget, p[0]) : Value::string(budget, "");
  const Value path = p.valueOr(1, Value::none());
  TextBuilder out(budget);
  bool more = false;
  for (const Value& item : itemsOf(budget, input)) {
    if (std::exchange(more, true)) out.append(separator.asString());
    appendString(out, attributeOf(budget, item, path));
  }
  return out.value();
}

Value items(Budget& budget, const Value& input, const Arguments& arguments) {
  Parameters("items", arguments, {});
  ListBuilder pairs(budget);
  if (input.isUndefined()) return generator(pairs);
  if (!input.asDict()) fail("can only get item pairs from a mapping");
  for (const auto& [key, value] : input.asDict()->entries())
    pairs.add(Value::tuple(budget, {key, value}));
  return generator(pairs);
}

// `items` sorted by `keys` (one per item), stably; reversed order keeps equal items as they were,
// too.
ListBuilder sorted(Budget& budget, const std::vector<Value>& items, const std::vector<Value>& keys,
                   bool reverse) {
  budget.reserve(items.size(), 2 * sizeof(size_t));
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int c = compare(budget, keys[a], keys[b]);
    return reverse ? c > 0 : c < 0;
  });
  ListBuilder out(budget);
  for (size_t i : order) out.add(items[i]);
  return out;
}

// "a,b": items are sorted by several attributes.
Value sortKey(Budget& budget, const Value& item, const Value& path, bool case_sensitive) {
  if (path.isString()) payForLook(budget, path);
  if (!path.isString() || path.asString().find(',') == std::string_view::npos)
    return keyOf(budget, item, path, case_sensitive);
  ListBuilder keys(budget);
  std::string_view rest = path.asString();
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    keys.add(keyOf(budget, item, Value::string(budget, rest.substr(0, comma)), case_sensitive));
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
  }
  return keys.list();
}

Value sort(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const std::vector<Value>& items = itemsOf(budget, input);
  ListBuilder keys(budget);
  for (const Value& item : items)
    keys.add(sortKey(budget, item, p.valueOr(2, Value::none()), p.flag(1)));
  return sorted(budget, items, keys.items(), p.flag(0)).list();
}

Value dictsort(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string_view by = p.text(1, "key");
  if (by != "key" && by != "value") fail("dictsort() takes by='key' or by='value'");
  requireDefined(input);
  if (!input.asDict()) fail(fmt::format("'{}' object has no attribute 'items'", input.typeName()));
  ListBuilder items(budget), keys(budget);
  for (const auto& [key, value] : input.asDict()->entries()) {
    items.add(Value::tuple(budget, {key, value}));
    keys.add(keyOf(budget, by == "key" ? key : value, Value::none(), p.flag(0)));
  }
  return sorted(budget, items.items(), keys.items(), p.flag(2)).list();
}

Value unique(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("unique", arguments, {"case_sensitive", "attribute"});
  Dict seen;
  ListBuilder out(budget);
  for (const Value& item : itemsOf(budget, input)) {
    const Value key = keyOf(budget, item, p.valueOr(1, Value::none()), p.flag(0));
    if (seen.find(budget, key)) continue;
    seen.set(budget, key, Value::none());
    out.add(item);
  }
  return generator(out);
}

template <bool kMax>
Value extreme(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p(kMax ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const std::vector<Value>& items = itemsOf(budget, input);
  if (items.empty()) return Value::undefined(budget, "no aggregated item, the sequence was empty");
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    const Value key = keyOf(budget, items[i], p.valueOr(1, Value::none()), p.flag(0));
    const int order = i == 0 ? 0 : compare(budget, key, best_key);
    if (i == 0 || (kMax ? order > 0 : order < 0)) best = i, best_key = key;
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
  ListBuilder items(budget);
  items.addAll(iterate(budget, input));
  std::reverse(items.items().begin(), items.items().end());
  return generator(items);
}

// The arguments behind the first `n`.
Arguments argumentsAfter(Budget& budget, const Arguments& arguments, size_t n) {
  budget.reserve(arguments.positional.size(), sizeof(Value));
  budget.reserve(arguments.named.size(), sizeof(arguments.named[0]));
  return {{arguments.positional.begin() + static_cast<ptrdiff_t>(n), arguments.positional.end()},
          arguments.named};
}

Value map(Budget& budget, const Value& input, const Arguments& arguments) {
  ListBuilder out(budget);
  if (!isTrue(input)) return generator(out);  // whatever it is
  if (arguments.positional.empty()) {
    const Parameters p("map", arguments, {"attribute", "default"}, 1);
    const Value otherwise = p.isNone(1) ? Value() : p[1];  // none is no default
    for (const Value& item : itemsOf(budget, input))
      out.add(attributeOf(budget, item, p[0], otherwise));
  } else {
    if (!arguments.positional[0].isString()) fail("map() takes a filter's name");
    const Filter filter = requireFilter(arguments.positional[0].asString());
    const Arguments rest = argumentsAfter(budget, arguments, 1);
    const Budget::Nesting nesting(budget);  // map('map', 'map', ...)
    for (const Value& item : itemsOf(budget, input)) out.add(filter(budget, item, rest));
  }
  return generator(out);
}

// select, reject, and both by an attribute: the items for which a test, or else their truth, is
// kWanted.
template <bool kWanted, bool kByAttribute>
Value select(Budget& budget, const Value& input, const Arguments& arguments) {
  ListBuilder out(budget);
  if (!isTrue(input)) return generator(out);  // whatever it is
  const size_t skip = kByAttribute ? 1 : 0;
  const auto& positional = arguments.positional;
  if (positional.size() < skip) fail("selectattr() and rejectattr() take an attribute's name");
  const Value path = kByAttribute ? positional[0] : Value::none();
  Test test = nullptr;
  Arguments rest;
  if (positional.size() > skip) {
    if (!positional[skip].isString()) fail("select() takes a test's name");
    test = requireTest(positional[skip].asString());
    rest = argumentsAfter(budget, arguments, skip + 1);
  }
  for (const Value& item : itemsOf(budget, input)) {
    const Value looked_at = attributeOf(budget, item, path);
    if ((test ? test(budget, looked_at, rest) : isTrue(looked_at)) == kWanted) out.add(item);
  }
  return generator(out);
}

Value groupby(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  ListBuilder groups_of(budget), keys(budget);
  const std::vector<Value>& items = itemsOf(budget, input);
  const Value otherwise = p.isNone(1) ? Value() : p[1];  // none is no default
  for (const Value& item : items) {
    groups_of.add(attributeOf(budget, item, p[0], otherwise));
    keys.add(keyOf(budget, groups_of.items().back(), Value::none(), p.flag(2)));
  }
  const auto ordered = [&](const std::vector<Value>& values) {
    return sorted(budget, values, keys.items(), false);
  };
  ListBuilder members = ordered(items), names = ordered(groups_of.items());
  ListBuilder sorted_keys = ordered(keys.items()), groups(budget);
  for (size_t begin = 0, end = 0; begin < members.size(); begin = end) {
    ListBuilder group(budget), pair(budget);
    do {  // a key is in its own group, though NaN equals nothing
      group.add(members.items()[end++]);
    } while (end < members.size() &&
             equals(budget, sorted_keys.items()[end], sorted_keys.items()[begin]));
    pair.add(names.items()[begin]);
    pair.add(group.list());
    groups.add(pair.sequence(Sequence::Kind::kGroup));
  }
  return groups.list();
}

Value batch(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = p.integer(0, 1);
  if (size < 1) fail("batch() takes a positive size");
  ListBuilder rows(budget), row(budget);
  for (const Value& item : itemsOf(budget, input)) {
    if (static_cast<int64_t>(row.size()) == size) rows.add(row.list());
    row.add(item);
  }
  if (row.size() > 0) {
    if (!p.isNone(1)) row.expect(static_cast<uint64_t>(size) - row.size());
    while (!p.isNone(1) && static_cast<int64_t>(row.size()) < size) row.add(p[1]);
    rows.add(row.list());
  }
  return generator(rows);
}

Value slice(Budget& budget, const Value& input, const Arguments& arguments) {
  const Parameters p("slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t slices = p.integer(0, 1);
  if (slices < 1) fail("slice() takes a positive number");
  const std::vector<Value>& items = itemsOf(budget, input);
  const auto length = static_cast<int64_t>(items.size());
  ListBuilder columns(budget);
  auto next = items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    const bool longer = i < length % slices;
    ListBuilder column(budget);
    for (int64_t n = length / slices + longer; n > 0; --n) column.add(*next++);
    if (!p.isNone(1) && !longer) column.add(p[1]);
    columns.add(column.list());
  }
  return generator(columns);
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
  return found == std::end(kFilters) ? Filter(nullptr) : found->filter;
}

}  // namespace llmrt::jinja
