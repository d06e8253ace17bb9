#include "frontend/Checkpoint.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>
#include <set>
#include <tuple>

#include "frontend/GgufConfig.h"
#include "frontend/HfConfig.h"
#include "frontend/tokenizer/TokenizerFile.h"
#include "models/Architectures.h"
#include "models/CheckSpec.h"
#include "runtime/io/gguf_tensors.h"
#include "runtime/io/json.h"
#include "runtime/io/model_file.h"
#include "runtime/io/other_weights.h"
#include "runtime/io/printable.h"
#include "runtime/io/safetensors.h"
#include "runtime/io/tensor_name.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
using llmrt::GgufFile;
using llmrt::invalidArgument;
using llmrt::invalidData;
using llmrt::MappedFile;
using llmrt::modelName;
using llmrt::notFound;
using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using llmrt::unsupported;

bool pathExists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool isDirectory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

Status readTokenizerOfGguf(std::shared_ptr<const GgufFile> gguf, Checkpoint& out) {
  LLMRT_ASSIGN_OR_RETURN(out.chat, readChatFiles(*gguf));
  LLMRT_ASSIGN_OR_RETURN(const bool has_tokenizer, gguf->hasTokenizer());
  if (!has_tokenizer) return {};
  out.tokenizer.kind = TokenizerOrigin::Kind::kGguf;
  out.tokenizer.path = gguf->path();
  out.tokenizer.gguf = std::move(gguf);
  return {};
}

// The tokenizer and the chat templates that lie in a directory; either may be absent.
Status readTokenizerOfDirectory(const fs::path& directory, Checkpoint& out) {
  if (fs::path file = findTokenizerFile(directory); !file.empty()) {
    out.tokenizer.kind = TokenizerOrigin::Kind::kFile;
    out.tokenizer.path = file.string();
  }
  LLMRT_ASSIGN_OR_RETURN(out.chat, readChatFiles(directory));
  return {};
}

Status readTokenizer(const std::string& named, Checkpoint& out) {
  LLMRT_ASSIGN_OR_RETURN(const std::string path, llmrt::resolveGgufFolder(named));
  if (!pathExists(path)) return llmrt::noSuchModel(path);
  if (isDirectory(path)) {
    LLMRT_RETURN_IF_ERROR(readTokenizerOfDirectory(path, out));
    if (out.tokenizer.kind == TokenizerOrigin::Kind::kNone)
      return notFound(path + ": holds no tokenizer (tokenizer.json, tokenizer.model, ...)");
    return {};
  }
  LLMRT_ASSIGN_OR_RETURN(MappedFile file, llmrt::openModelFile(path));
  if (GgufFile::looksLikeGguf(file)) {
    LLMRT_ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> gguf, GgufFile::open(path));
    LLMRT_ASSIGN_OR_RETURN(const bool has_tokenizer, gguf->hasTokenizer());
    if (!has_tokenizer) return invalidData(path + ": holds no tokenizer");
    return readTokenizerOfGguf(std::move(gguf), out);
  }
  LLMRT_RETURN_IF_ERROR(readTokenizerOfDirectory(fs::path(path).parent_path(), out));
  out.tokenizer.kind = TokenizerOrigin::Kind::kFile;
  out.tokenizer.path = path;
  return {};
}

/// One kernel multiplies with the gate and the up projection of experts, which have one type.
Status checkExpertFormats(const ModelSpec& spec, const llmrt::TensorSource& weights) {
  const TensorNames& names = spec.form.names;
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const Mlp mlp = spec.layerForm(layer).mlp;
    if (mlp != Mlp::kExperts && mlp != Mlp::kBoth) continue;
    const auto tensorOf = [&](std::string_view name) {
      return llmrt::tensorName(std::string(names.layer).append(name).append(".weight"), layer, 0);
    };
    const std::string gate = tensorOf(names.expert_gate), up = tensorOf(names.expert_up);
    const auto of_gate = spec.stored_formats.find(gate), of_up = spec.stored_formats.find(up);
    const auto end = spec.stored_formats.end();
    if (of_gate == end || of_up == end || of_gate->second == of_up->second) continue;
    return unsupported(weights.path() + ": tensors " + quotedName(weights.storedName(gate)) + " (" +
                       std::string(of_gate->second->name) + ") and " +
                       quotedName(weights.storedName(up)) + " (" +
                       std::string(of_up->second->name) +
                       ") have different types, which is not supported of experts");
  }
  return {};
}

/// Which matrices a plan keeps as they are stored: quantised ones, and with `plain` the others.
Status readStoredFormats(ModelSpec& spec, const llmrt::TensorSource& weights, bool plain) {
  for (const TensorNeed& need : requiredTensors(spec)) {
    if (need.shape.size() < 2) continue;
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* tensor, weights.find(need.name));
    if (tensor && (tensor->blocks || plain))
      spec.stored_formats.emplace(need.name, &tensor->format());
  }
  LLMRT_RETURN_IF_ERROR(checkExpertFormats(spec, weights));
  // A GGUF file says of no dtype that it is the model's; what is computed is f32.
  if (plain && spec.isQuantized()) spec.dtype = llmrt::DType::kF32;
  std::set<int64_t> begins;  // of runs of layers
  for (const ModelWeight& w : modelWeights(spec))
    if (w.num_layers > 0) begins.insert(w.first_layer);
  if (std::ssize(begins) > kMaxLayerRuns)
    return unsupported(weights.path() + ": the types of tensors change from layer to layer " +
                       std::to_string(begins.size() - 1) + " times, at most " +
                       std::to_string(kMaxLayerRuns - 1) + " are supported");
  return {};
}

/// Norms of some families multiply by 1 + weight. GGUF files hold that sum, others the weight.
Status checkSameKind(const ModelSpec& spec, bool of_gguf, const llmrt::TensorSource& weights) {
  const Architecture* architecture = findArchitecture(spec.architecture);
  if (!architecture || architecture->form.norm_plus == 0) return {};
  const bool weights_of_gguf = weights.storedName("model.norm.weight") == "output_norm.weight";
  if (weights_of_gguf == of_gguf) return {};
  return unsupported(weights.path() + ": norms of " + spec.architecture +
                     " are stored in another way in GGUF files than in safetensors: config and "
                     "weights must be of one kind");
}

/// Refuses a model that has no MTP block, or one of a form that nobody here knows.
Status useMtp(const std::string& path, ModelSpec& spec) {
  const auto refused = [&](const std::string& why) {
    return unsupported(path + ": --mtp: " + why);
  };
  if (spec.form.names.mtp_layer.empty())
    return refused("layers of multi-token prediction are not supported for model_type " +
                   spec.architecture);
  if (spec.mtp.num_blocks == 0)
    return refused(
        "the model has no layers of multi-token prediction (mtp_num_hidden_layers, "
        "num_nextn_predict_layers, nextn_predict_layers)");
  if (spec.mtp.num_blocks > 1 && spec.form.mtp_chains_norm)
    return refused("the model has " + std::to_string(spec.mtp.num_blocks) +
                   " layers of multi-token prediction in a row, one is supported");
  if (spec.mtp.num_blocks > 1)
    spec.notes.push_back("the model has " + std::to_string(spec.mtp.num_blocks) +
                         " layers of multi-token prediction, the first is compiled");
  spec.mtp.compiled = true;
  spec.mtp.experts = spec.form.experts;
  return {};
}

/// What the checkpoint's MTP block has of its own, and how it stores its experts. Matrices that are
/// the model's to the byte are not packed twice.
Status readMtpTensors(const llmrt::TensorSource& weights, ModelSpec& spec) {
  if (!spec.mtp.compiled) return {};
  const TensorNames& names = spec.form.names;
  const auto find = [&](std::string_view name, std::string_view suffix) {
    return weights.find(llmrt::tensorName(std::string(name).append(suffix), spec.num_layers, 0));
  };
  for (const auto& [own, shared, has] :
       {std::tuple(names.mtp_embed, names.embed, &spec.mtp.own_embeddings),
        {names.mtp_lm_head, spec.tie_word_embeddings ? names.embed : names.lm_head,
         &spec.mtp.own_lm_head}}) {
    if (own.empty()) continue;
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* its, find(own, ".weight"));
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* models, find(shared, ".weight"));
    *has = its && models && !sameValues(*its, *models);
  }
  const std::string layer(names.mtp_layer);
  LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* all,
                         find(layer + std::string(names.experts_gate_up), ""));
  LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* one,
                         find(layer + std::string(names.expert_up), ".weight"));
  spec.mtp.experts = all ? ExpertLayout::kStacked : one ? ExpertLayout::kEach : spec.form.experts;
  return {};
}

/// Which of two layouts the checkpoint has its experts in: the same model is published in both.
Status findExpertLayout(const llmrt::TensorSource& weights, ModelSpec& spec) {
  const TensorNames& names = spec.form.names;
  if (spec.form.experts == ExpertLayout::kAlternating ||
      spec.form.experts == ExpertLayout::kAlternatingRows) {
    const std::string first = std::string(names.layer).append(names.experts_gate_up);
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* tensor,
                           weights.find(llmrt::tensorName(first, 0, 0)));
    if (!tensor) return {};
    // What the tensors are counts, whatever the config says.
    spec.form.experts =
        tensor->blocks ? ExpertLayout::kAlternatingRows : ExpertLayout::kAlternating;
    if (!tensor->blocks) spec.stored_formats.clear();
    // A layout of blocks has the other order of both axes: what is read in the wrong one may have
    // the right shape.
    for (int64_t layer = 0; layer < spec.num_layers; ++layer)
      for (std::string_view name : {names.experts_gate_up, names.experts_down}) {
        const std::string full = llmrt::tensorName(std::string(names.layer).append(name), layer, 0);
        LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* other, weights.find(full));
        if (other && !other->blocks != !tensor->blocks)
          return invalidData(weights.path() + ": tensor " + quotedName(full) + " is " +
                             (other->blocks ? "in blocks of MXFP4" : "of plain values") +
                             ", unlike " + quotedName(tensor->name));
      }
    return {};
  }
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const Mlp mlp = spec.layerForm(layer).mlp;
    if (mlp != Mlp::kExperts && mlp != Mlp::kBoth) continue;
    const auto nameOf = [&](std::string_view name, const char* suffix) {
      return llmrt::tensorName(std::string(names.layer).append(name).append(suffix), layer, 0);
    };
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* all,
                           weights.find(nameOf(names.experts_gate_up, "")));
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* one,
                           weights.find(nameOf(names.expert_up, ".weight")));
    if (all) spec.form.experts = ExpertLayout::kStacked;
    if (one) spec.form.experts = ExpertLayout::kEach;
    break;
  }
  return {};
}

/// `keep_plain`: of the weights' dtypes. A config says what its model's weights are; a GGUF file
/// has a type for each tensor.
Status useWeights(std::unique_ptr<llmrt::TensorSource> weights, bool keep_plain, Checkpoint& out) {
  LLMRT_ASSIGN_OR_RETURN(out.weights, tieEmbeddings(std::move(weights), out.spec));
  LLMRT_RETURN_IF_ERROR(findExpertLayout(*out.weights, out.spec));
  LLMRT_RETURN_IF_ERROR(readMtpTensors(*out.weights, out.spec));
  LLMRT_RETURN_IF_ERROR(checkTensors(out.spec, *out.weights));
  LLMRT_RETURN_IF_ERROR(readStoredFormats(out.spec, *out.weights, keep_plain));
  LLMRT_ASSIGN_OR_RETURN(const llmrt::Tensor* embeddings,
                         out.weights->find(std::string(out.spec.form.names.embed) + ".weight"));
  out.spec.stored_dtype = embeddings->blocks ? llmrt::DType::kF32 : embeddings->dtype;
  return {};
}

Status openGguf(const std::string& path, const CheckpointOptions& options, Checkpoint& out) {
  LLMRT_ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> gguf, GgufFile::open(path));
  LLMRT_ASSIGN_OR_RETURN(out.spec, parseGgufConfig(*gguf, modelName(path)));
  if (options.mtp) LLMRT_RETURN_IF_ERROR(useMtp(path, out.spec));
  if (options.tokenizer.empty()) LLMRT_RETURN_IF_ERROR(readTokenizerOfGguf(gguf, out));
  if (options.no_weights) {
    // Code for these weights, which llmc pack brings.
    LLMRT_ASSIGN_OR_RETURN(const auto weights, llmrt::ggufTensors(gguf));
    return readStoredFormats(out.spec, *weights, /*plain=*/true);
  }
  if (!options.weights.empty()) {
    LLMRT_ASSIGN_OR_RETURN(auto weights, openWeights(options.weights));
    LLMRT_RETURN_IF_ERROR(checkSameKind(out.spec, /*of_gguf=*/true, *weights));
    return useWeights(std::move(weights), /*keep_plain=*/true, out);
  }
  if (gguf->tensors().empty())
    return invalidData(path +
                       ": holds a vocabulary only, no weights; give --weights or --no-weights");
  LLMRT_ASSIGN_OR_RETURN(auto weights, llmrt::ggufTensors(gguf));
  return useWeights(std::move(weights), /*keep_plain=*/true, out);
}

// peft's: an adapter lies in adapter_model.safetensors beside its config, which Transformers
// applies to the base model that it names.
bool hasAdapter(const fs::path& directory) { return pathExists(directory / "adapter_config.json"); }

Status adapterAlone(const fs::path& directory) {
  return unsupported(
      directory.string() +
      ": holds a LoRA adapter (adapter_config.json), not a model: merge it into its "
      "base model (peft's merge_and_unload(), then save_pretrained()) and give that");
}

// A directory without config.json.
Status notAModel(const fs::path& directory) {
  if (hasAdapter(directory)) return adapterAlone(directory);
  std::string message = directory.string() + ": not a model: holds no config.json";
  if (pathExists(directory / "params.json"))
    message += "; params.json is its publisher's own form: take the model's Hugging Face version";
  return notFound(std::move(message));
}

Status openHf(const fs::path& directory, const fs::path& config, bool needs_weights,
              const CheckpointOptions& options, Checkpoint& out) {
  LLMRT_ASSIGN_OR_RETURN(nlohmann::json json, llmrt::readJsonFile(config.string()));
  LLMRT_ASSIGN_OR_RETURN(out.spec, parseHfConfig(json, config.string(), modelName(config)));
  if (options.mtp) LLMRT_RETURN_IF_ERROR(useMtp(config.string(), out.spec));
  if (fs::path generation = directory / "generation_config.json"; pathExists(generation)) {
    LLMRT_ASSIGN_OR_RETURN(nlohmann::json generation_json,
                           llmrt::readJsonFile(generation.string()));
    LLMRT_RETURN_IF_ERROR(parseGenerationConfig(generation_json, generation.string(), out.spec));
  }
  if (options.tokenizer.empty()) LLMRT_RETURN_IF_ERROR(readTokenizerOfDirectory(directory, out));
  if (hasAdapter(directory))
    out.warnings.push_back((directory / "adapter_config.json").string() +
                           ": the LoRA adapter is not applied, this is the model without it; to "
                           "have it, merge it first (peft's merge_and_unload())");
  if (options.no_weights) return {};
  std::string weights_path = options.weights;
  if (weights_path.empty()) {
    if (!llmrt::hasSafetensors(directory.string())) {
      if (!needs_weights) return {};
      if (hasAdapter(directory)) return adapterAlone(directory);
      return notFound(llmrt::noSafetensors(directory.string()).message() +
                      "; give --weights or --no-weights");
    }
    weights_path = directory.string();
  }
  if (!out.spec.unread_dtype.empty())
    return unsupported(weights_path + ": the config says that weights are stored as " +
                       out.spec.unread_dtype +
                       ", which is not supported: use --no-weights, or a checkpoint in bf16");
  LLMRT_ASSIGN_OR_RETURN(auto weights, openWeights(weights_path));
  LLMRT_RETURN_IF_ERROR(checkSameKind(out.spec, /*of_gguf=*/false, *weights));
  return useWeights(std::move(weights), /*keep_plain=*/false, out);
}

// What a file that is no GGUF can be: JSON, or a mistake worth naming.
Status checkLooksLikeConfig(const MappedFile& file) {
  const std::string& path = file.path();
  if (llmrt::looksLikePyTorch(file)) return llmrt::pyTorchRefused(path);
  if (path.ends_with(".safetensors"))
    return invalidArgument(path + ": holds weights only; name the directory or its config.json");
  if (path.ends_with(".json")) return {};
  const std::string_view text = file.text();
  auto first =
      std::find_if(text.begin(), text.end(), [](unsigned char c) { return !std::isspace(c); });
  if (first == text.end() || *first != '{')
    return invalidData(path + ": not a model: neither a config.json nor a GGUF file");
  return {};
}

}  // namespace

Result<Checkpoint> openCheckpoint(const std::string& named, const CheckpointOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const std::string path, llmrt::resolveGgufFolder(named));
  Checkpoint out;
  if (isDirectory(path)) {
    const fs::path config = fs::path(path) / "config.json";
    if (!pathExists(config)) return notAModel(path);
    LLMRT_RETURN_IF_ERROR(openHf(path, config, /*needs_weights=*/true, options, out));
  } else {
    LLMRT_ASSIGN_OR_RETURN(MappedFile file, llmrt::openModelFile(path));
    if (GgufFile::looksLikeGguf(file)) {
      LLMRT_RETURN_IF_ERROR(openGguf(path, options, out));
    } else {
      LLMRT_RETURN_IF_ERROR(checkLooksLikeConfig(file));
      fs::path directory = fs::path(path).parent_path();
      if (directory.empty()) directory = ".";
      LLMRT_RETURN_IF_ERROR(openHf(directory, path, /*needs_weights=*/false, options, out));
    }
  }
  if (!options.tokenizer.empty()) LLMRT_RETURN_IF_ERROR(readTokenizer(options.tokenizer, out));
  return out;
}

}  // namespace llmc
