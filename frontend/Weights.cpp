// Opening a checkpoint's weights and checking them against the model.
#include <algorithm>
#include <cstring>
#include <filesystem>

#include "frontend/Checkpoint.h"
#include "runtime/io/gguf_tensors.h"
#include "runtime/io/model_file.h"
#include "runtime/io/printable.h"
#include "runtime/io/safetensors.h"
#include "runtime/io/weight_format.h"

namespace llmc {
namespace {

using llmrt::quotedName;
using llmrt::Result;
using llmrt::shapeText;
using llmrt::Status;
using llmrt::Tensor;
using llmrt::TensorSource;

std::string embedTokens(const ModelSpec& spec) {
  return std::string(spec.form.names.embed) + ".weight";
}
std::string lmHead(const ModelSpec& spec) {
  return std::string(spec.form.names.lm_head) + ".weight";
}

/// Whether a tensor is the MTP block's.
bool namesMtp(const ModelSpec& spec, std::string_view name) {
  const auto of_mtp = [&](const ModelWeight& w) { return w.of_mtp && name == w.source; };
  const std::vector<ModelWeight> weights = modelWeights(spec);
  return std::any_of(weights.begin(), weights.end(), of_mtp);
}

// Finds the embeddings where a tied checkpoint stores the logits' matrix alone.
class LmHeadAsEmbedding : public TensorSource {
 public:
  LmHeadAsEmbedding(std::unique_ptr<TensorSource> inner, const Tensor& lm_head, std::string name)
      : inner_(std::move(inner)), lm_head_name_(lm_head.name), embedding_(lm_head) {
    embedding_.name = std::move(name);
  }

  Result<const Tensor*> find(std::string_view name) const override {
    if (name == embedding_.name) return &embedding_;
    return inner_->find(name);
  }
  std::vector<std::string> names() const override { return inner_->names(); }
  const std::string& path() const override { return inner_->path(); }
  std::string placeOf(std::string_view name) const override { return inner_->placeOf(name); }
  std::string storedName(std::string_view name) const override {
    return inner_->storedName(name == embedding_.name ? lm_head_name_ : name);
  }

 private:
  std::unique_ptr<TensorSource> inner_;
  std::string lm_head_name_;
  Tensor embedding_;
};

// Finds names that begin with `from` where the checkpoint has `to` in its place: the decoder alone
// calls "transformer.wte.weight" "wte.weight", and a model of text and more has a name for its text
// model in front.
class OtherPrefix : public TensorSource {
 public:
  OtherPrefix(std::unique_ptr<TensorSource> inner, std::string from, std::string to)
      : inner_(std::move(inner)), from_(std::move(from)), to_(std::move(to)) {}

  Result<const Tensor*> find(std::string_view name) const override {
    return inner_->find(stored(name));
  }
  std::vector<std::string> names() const override { return inner_->names(); }
  const std::string& path() const override { return inner_->path(); }
  std::string placeOf(std::string_view name) const override {
    return inner_->placeOf(stored(name));
  }
  std::string storedName(std::string_view name) const override {
    return inner_->storedName(stored(name));
  }

 private:
  std::string stored(std::string_view name) const {
    if (!name.starts_with(from_)) return std::string(name);
    return to_ + std::string(name.substr(from_.size()));
  }

  std::unique_ptr<TensorSource> inner_;
  std::string from_, to_;
};

/// The same weights under the names that the model's tensors have, if they have a prefix that is
/// known; `name` is one of those.
Result<std::unique_ptr<TensorSource>> underOwnNames(std::unique_ptr<TensorSource> weights,
                                                    const std::string& name) {
  std::vector<std::pair<std::string, std::string>> prefixes = {{"", "language_model."}};
  if (const size_t dot = name.find('.'); dot != std::string::npos) {
    const std::string first = name.substr(0, dot + 1);
    prefixes.emplace_back(first, "");
    prefixes.emplace_back(first, first + "language_model.");
  }
  for (const auto& [from, to] : prefixes) {
    LLMRT_ASSIGN_OR_RETURN(const Tensor* found, weights->find(to + name.substr(from.size())));
    if (found)
      return std::unique_ptr<TensorSource>(
          std::make_unique<OtherPrefix>(std::move(weights), from, to));
  }
  return weights;
}

}  // namespace

bool sameValues(const Tensor& a, const Tensor& b) {
  if (&a.format() != &b.format() || a.shape != b.shape || a.bytes != b.bytes) return false;
  // Scales that lie apart are not in `bytes`; nothing needs them compared.
  if (a.scales || b.scales) return a.data == b.data && a.scales == b.scales;
  return a.data == b.data || std::memcmp(a.data, b.data, a.bytes) == 0;
}

Result<std::unique_ptr<TensorSource>> openWeights(const std::string& named) {
  LLMRT_ASSIGN_OR_RETURN(const std::string path, llmrt::resolveGgufFolder(named));
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    LLMRT_ASSIGN_OR_RETURN(llmrt::MappedFile file, llmrt::openModelFile(path));
    if (llmrt::GgufFile::looksLikeGguf(file)) {
      LLMRT_ASSIGN_OR_RETURN(std::shared_ptr<const llmrt::GgufFile> gguf,
                             llmrt::GgufFile::open(path));
      return llmrt::ggufTensors(std::move(gguf));
    }
  }
  return llmrt::openSafetensors(path);
}

Result<std::unique_ptr<TensorSource>> tieEmbeddings(std::unique_ptr<TensorSource> weights,
                                                    ModelSpec& spec) {
  const std::string embed_name = embedTokens(spec), head_name = lmHead(spec);
  LLMRT_ASSIGN_OR_RETURN(const Tensor* embedding, weights->find(embed_name));
  if (!embedding) {
    LLMRT_ASSIGN_OR_RETURN(weights, underOwnNames(std::move(weights), embed_name));
    LLMRT_ASSIGN_OR_RETURN(embedding, weights->find(embed_name));
  }
  LLMRT_ASSIGN_OR_RETURN(const Tensor* lm_head, weights->find(head_name));
  if (!spec.tie_word_embeddings) return weights;
  if (embedding && lm_head && !sameValues(*embedding, *lm_head)) spec.tie_word_embeddings = false;
  if (embedding || !lm_head) return weights;
  return std::unique_ptr<TensorSource>(
      std::make_unique<LmHeadAsEmbedding>(std::move(weights), *lm_head, embed_name));
}

Status checkTensors(const ModelSpec& spec, const TensorSource& weights) {
  for (const TensorNeed& need : requiredTensors(spec)) {
    LLMRT_ASSIGN_OR_RETURN(const Tensor* tensor, weights.find(need.name));
    if (!tensor) {
      const Status missing = llmrt::missingTensor(weights, need.name, need.shape);
      if (spec.mtp.compiled && namesMtp(spec, need.name))
        return llmrt::notFound(missing.message() +
                               "; --mtp needs the model's layers of multi-token prediction, which "
                               "not every checkpoint has");
      if (need.name != lmHead(spec)) return missing;
      return llmrt::notFound(missing.message() +
                             "; a model that shares it with embed_tokens says tie_word_embeddings");
    }
    const std::string name = ": tensor " + quotedName(weights.storedName(need.name));
    if (tensor->shape != need.shape)
      return llmrt::invalidData(weights.path() + name + " has shape " + shapeText(tensor->shape) +
                                ", the config needs " + shapeText(need.shape));
    if (tensor->blocks && need.shape.size() < 2)
      return llmrt::unsupported(weights.path() + name + " is a vector of type " +
                                std::string(tensor->format().name) +
                                ", which is not supported (f32, f16 and bf16 are)");
  }
  return {};
}

}  // namespace llmc
