// Opening a checkpoint's weights and checking them against the model.
#include <cstring>
#include <filesystem>

#include "frontend/Checkpoint.h"
#include "runtime/io/gguf_tensors.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/printable.h"
#include "runtime/io/safetensors.h"

namespace llmc {
namespace {

using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using llmrt::Tensor;
using llmrt::TensorSource;

constexpr const char* kEmbedTokens = "model.embed_tokens.weight";
constexpr const char* kLmHead = "lm_head.weight";

// Finds model.embed_tokens.weight where a tied checkpoint stores lm_head.weight alone.
class LmHeadAsEmbedding : public TensorSource {
 public:
  LmHeadAsEmbedding(std::unique_ptr<TensorSource> inner, const Tensor& lm_head)
      : inner_(std::move(inner)), embedding_(lm_head) {
    embedding_.name = kEmbedTokens;
  }

  Result<const Tensor*> find(std::string_view name) const override {
    if (name == kEmbedTokens) return &embedding_;
    return inner_->find(name);
  }
  std::vector<std::string> names() const override { return inner_->names(); }
  const std::string& path() const override { return inner_->path(); }

 private:
  std::unique_ptr<TensorSource> inner_;
  Tensor embedding_;
};

bool sameValues(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype || a.shape != b.shape || a.bytes != b.bytes) return false;
  return a.data == b.data || std::memcmp(a.data, b.data, a.bytes) == 0;
}

std::string shapeText(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

}  // namespace

Result<std::unique_ptr<TensorSource>> openWeights(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    LLMRT_ASSIGN_OR_RETURN(llmrt::MappedFile file, llmrt::MappedFile::open(path));
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
  if (!spec.tie_word_embeddings) return weights;
  LLMRT_ASSIGN_OR_RETURN(const Tensor* embedding, weights->find(kEmbedTokens));
  LLMRT_ASSIGN_OR_RETURN(const Tensor* lm_head, weights->find(kLmHead));
  if (embedding && lm_head && !sameValues(*embedding, *lm_head)) spec.tie_word_embeddings = false;
  if (embedding || !lm_head) return weights;
  return std::unique_ptr<TensorSource>(
      std::make_unique<LmHeadAsEmbedding>(std::move(weights), *lm_head));
}

Status checkTensors(const ModelSpec& spec, const TensorSource& weights) {
  for (const TensorNeed& need : requiredTensors(spec)) {
    LLMRT_ASSIGN_OR_RETURN(const Tensor* tensor, weights.find(need.name));
    if (!tensor) {
      const char* hint = need.name == kLmHead
                             ? "; a model that shares it with embed_tokens says tie_word_embeddings"
                             : "";
      return llmrt::notFound(weights.path() + ": tensor " + quotedName(need.name) + " " +
                             shapeText(need.shape) + " is missing" + hint);
    }
    if (tensor->shape != need.shape)
      return llmrt::invalidData(weights.path() + ": tensor " + quotedName(need.name) +
                                " has shape " + shapeText(tensor->shape) + ", the config needs " +
                                shapeText(need.shape));
  }
  return {};
}

}  // namespace llmc
