// Opening a checkpoint's weights and checking them against the model.
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

// Finds "transformer.wte.weight" in a checkpoint of the decoder alone, which calls it "wte.weight".
class WithPrefix : public TensorSource {
 public:
  WithPrefix(std::unique_ptr<TensorSource> inner, std::string prefix)
      : inner_(std::move(inner)), prefix_(std::move(prefix)) {}

  Result<const Tensor*> find(std::string_view name) const override {
    return inner_->find(withoutPrefix(name));
  }
  std::vector<std::string> names() const override { return inner_->names(); }
  const std::string& path() const override { return inner_->path(); }
  std::string placeOf(std::string_view name) const override {
    return inner_->placeOf(withoutPrefix(name));
  }
  std::string storedName(std::string_view name) const override {
    return inner_->storedName(withoutPrefix(name));
  }

 private:
  std::string_view withoutPrefix(std::string_view name) const {
    if (name.starts_with(prefix_)) name.remove_prefix(prefix_.size());
    return name;
  }

  std::unique_ptr<TensorSource> inner_;
  std::string prefix_;
};

bool sameValues(const Tensor& a, const Tensor& b) {
  if (&a.format() != &b.format() || a.shape != b.shape || a.bytes != b.bytes) return false;
  return a.data == b.data || std::memcmp(a.data, b.data, a.bytes) == 0;
}

}  // namespace

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
  LLMRT_ASSIGN_OR_RETURN(const Tensor* lm_head, weights->find(head_name));
  if (const size_t dot = embed_name.find('.'); !embedding && dot != std::string::npos) {
    LLMRT_ASSIGN_OR_RETURN(embedding, weights->find(embed_name.substr(dot + 1)));
    if (embedding)
      weights = std::make_unique<WithPrefix>(std::move(weights), embed_name.substr(0, dot + 1));
  }
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
