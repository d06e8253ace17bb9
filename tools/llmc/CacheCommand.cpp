// llmc cache: what llmrun MODEL has kept.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "runtime/io/printable.h"
#include "tools/llmc/Commands.h"
#include "tools/llmc/PlanCache.h"
#include "tools/llmc/Units.h"

namespace llmc {
namespace {

using llmrt::Status;

std::string totalText(const std::vector<CachedPlan>& plans) {
  double bytes = 0;
  for (const CachedPlan& plan : plans) bytes += static_cast<double>(plan.bytes);
  return fmt::format("{} {}, {}", plans.size(), plans.size() == 1 ? "plan" : "plans",
                     bytesText(bytes));
}

Status listPlans() {
  LLMRT_ASSIGN_OR_RETURN(const PlanCache cache, PlanCache::open());
  LLMRT_ASSIGN_OR_RETURN(const std::vector<CachedPlan> plans, cache.list());
  size_t width = 0;
  for (const CachedPlan& plan : plans) width = std::max(width, plan.name.size());
  for (const CachedPlan& plan : plans)
    fmt::print("{:<{}}  {:>9}  {}\n", llmrt::printableLine(plan.name), width,
               bytesText(static_cast<double>(plan.bytes)), llmrt::printableLine(plan.origin.model));
  fmt::print("{}, in {}{}\n", totalText(plans), llmrt::printableLine(cache.folder()),
             plans.empty() ? "" : "; llmc cache clear removes them");
  return {};
}

Status clearPlans(const std::vector<std::string>& names) {
  LLMRT_ASSIGN_OR_RETURN(const PlanCache cache, PlanCache::open());
  LLMRT_ASSIGN_OR_RETURN(std::vector<CachedPlan> plans, cache.list());
  for (const std::string& name : names)
    if (std::none_of(plans.begin(), plans.end(),
                     [&](const CachedPlan& plan) { return plan.name == name; }))
      return llmrt::notFound(name + ": is not in the cache: llmc cache lists what is");
  if (!names.empty())
    std::erase_if(plans, [&](const CachedPlan& plan) {
      return std::find(names.begin(), names.end(), plan.name) == names.end();
    });
  std::vector<CachedPlan> removed;
  std::string in_use;
  for (CachedPlan& plan : plans) {
    LLMRT_ASSIGN_OR_RETURN(const bool gone, cache.remove(plan.name));
    if (gone)
      removed.push_back(std::move(plan));
    else
      in_use = plan.name;
  }
  LLMRT_RETURN_IF_ERROR(cache.sweep());
  fmt::print("removed {}\n", totalText(removed));
  if (!in_use.empty())
    return llmrt::ioError(in_use + ": is being made by another process, and stays");
  return {};
}

}  // namespace

void addCacheCommand(CLI::App& app, Command& chosen) {
  CLI::App* cache = app.add_subcommand(
      "cache", "The plans that llmrun MODEL compiled and keeps: lists them, or clears them");
  cache->require_subcommand(0, 1);
  CLI::App* clear = cache->add_subcommand("clear", "Remove the plans of these names, or all");
  auto names = std::make_shared<std::vector<std::string>>();
  clear->add_option("NAME", *names, "As llmc cache lists them; none: all");
  cache->callback([&chosen, clear, names] {
    chosen = clear->parsed() ? Command([names] { return clearPlans(*names); }) : listPlans;
  });
}

}  // namespace llmc
