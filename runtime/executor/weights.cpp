#include "runtime/executor/weights.h"

#include <fmt/format.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "runtime/io/model_file.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/version.h"

namespace llmrt {

std::string defaultWeightsPath(const std::string& plan_path) {
  constexpr std::string_view kExtension = ".fb";
  std::string path = plan_path;
  if (path.ends_with(kExtension)) path.resize(path.size() - kExtension.size());
  return path + ".weights";
}

Result<std::unique_ptr<Weights>> Weights::map(const Plan& plan, const std::string& path) {
  const std::string file_path = path.empty() ? defaultWeightsPath(plan.path()) : path;
  Result<std::unique_ptr<Weights>> weights = mapFile(plan, file_path);
  if (weights.ok() || !path.empty()) return weights;
  // llmc may have been killed when the plan had its name and the weights did not. These wait beside
  // the file itself, where `file_path` is a link.
  std::error_code absent;
  const std::filesystem::path file = std::filesystem::weakly_canonical(file_path, absent);
  Result<std::unique_ptr<Weights>> waiting =
      mapFile(plan, waitingWeightsPath(absent ? file_path : file.string()));
  return waiting.ok() ? std::move(waiting) : std::move(weights);
}

Result<std::unique_ptr<Weights>> Weights::mapFile(const Plan& plan, const std::string& path) {
  std::unique_ptr<Weights> weights(new Weights(plan));
  Result<MappedFile> file = openModelFile(path);
  if (!file.ok()) {
    if (file.status().code() != StatusCode::kNotFound) return std::move(file).status();
    return notFound(fmt::format("{}: no such file: {}", path,
                                plan.schema().has_weights()
                                    ? "give the weights with `weights`, or put them beside the plan"
                                    : "the plan holds code only: give its weights with `weights`, "
                                      "make them with llmc pack, or use `synthetic_weights`"));
  }
  weights->file_ = *std::move(file);

  WeightsHeader header;
  if (weights->file_.size() < sizeof header ||
      (std::memcpy(&header, weights->file_.data(), sizeof header),
       std::memcmp(header.magic, kWeightsMagic, sizeof kWeightsMagic) != 0)) {
    return invalidData(path + ": is not a weights file of llmc");
  }
  if (header.version != kWeightsVersion) {
    return unsupported(fmt::format(
        "{}: has weights version {}, this runtime reads version {}: compile the model again with "
        "llmc",
        path, header.version, kWeightsVersion));
  }
  if (!weightsBelong(plan.schema(), header)) {
    return invalidData(fmt::format(
        "{}: holds weights that do not belong to the plan {}: compile the model again with llmc, "
        "or make the plan's weights with llmc pack",
        path, plan.path()));
  }
  if (weights->file_.size() < header.bytes) {
    return invalidData(
        fmt::format("{}: is truncated: {} bytes of {}", path, weights->file_.size(), header.bytes));
  }
  weights->base_ = weights->file_.data();
  weights->identity_ = header.content;
  if (header.content == 0) {  // a plan without hashes of its weights: it is this file that counts
    struct stat s;
    if (::stat(path.c_str(), &s) != 0)
      return ioError(fmt::format("{}: {}", path, std::strerror(errno)));
    const int64_t file[] = {s.st_size,
                            s.st_mtim.tv_sec,
                            s.st_mtim.tv_nsec,
                            s.st_ctim.tv_sec,
                            s.st_ctim.tv_nsec,
                            static_cast<int64_t>(s.st_ino),
                            static_cast<int64_t>(s.st_dev)};
    weights->identity_ = XXH3_64bits(file, sizeof file);
  }
  return weights;
}

Status Weights::verifyHashes() const {
  if (!plan_.schema().weights()) return {};
  for (uint32_t i = 0; i < plan_.schema().weights()->size(); ++i) {
    const schema::Weight& w = *plan_.schema().weights()->Get(i);
    // Plane by plane of each layer, without what lies between: the hash is of the tensor's bytes
    // alone.
    XXH3_state_t* state = XXH3_createState();
    if (!state) return outOfMemory("out of memory");
    XXH3_64bits_reset(state);
    const uint32_t layers = w.num_layers() == 0 ? 1 : w.num_layers();
    for (uint32_t l = 0; l < layers; ++l) {
      const uint32_t layer = w.first_layer() + l;
      if (!w.planes()) XXH3_64bits_update(state, data(i, layer), w.bytes());
      for (uint32_t p = 0; w.planes() && p < w.planes()->size(); ++p)
        XXH3_64bits_update(state, data(i, layer, p), w.planes()->Get(p)->bytes());
    }
    const uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    if (hash != w.hash()) {
      return invalidData(fmt::format("{}: is corrupt: the hash of {} differs", file_.path(),
                                     quotedName(w.name()->string_view())));
    }
  }
  return {};
}

const uint8_t* Weights::data(uint32_t index, uint32_t layer, uint32_t plane) const {
  const schema::Weight& w = *plan_.schema().weights()->Get(index);
  const uint64_t in_stack = w.num_layers() == 0 ? 0 : layer - w.first_layer();
  const uint64_t in_layer = w.planes() ? w.planes()->Get(plane)->offset_bytes() : 0;
  return base_ + w.offset_bytes() + in_stack * w.layer_stride_bytes() + in_layer;
}

}  // namespace llmrt
