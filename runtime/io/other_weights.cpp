#include "runtime/io/other_weights.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include "runtime/io/printable.h"

namespace llmrt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConvert =
    "convert them with Transformers: "
    "AutoModelForCausalLM.from_pretrained(...).save_pretrained(DIR, safe_serialization=True)";

// Sorted: the directory's own order is any order.
std::vector<std::string> filesOf(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// What one file of a directory without safetensors means; "" where it is no weights.
std::string advice(const std::string& name) {
  const auto ends = [&](const char* suffix) { return name.ends_with(suffix); };
  const std::string quoted = quotedName(name);
  if (ends(".gguf")) return "it holds " + quoted + ", a model of its own: name that file";
  if (name.starts_with("consolidated."))
    return "its " + quoted +
           " has the tensors under their publisher's own names: take the Hugging Face version of "
           "the model, or make it with Transformers' conversion script of the family";
  if (ends(".bin.index.json") || ends(".pth") || ends(".pt") || ends(".ckpt") ||
      (name.starts_with("pytorch_model") && ends(".bin")))
    return "its weights are PyTorch's (" + quoted + "), which are not read: " + kConvert;
  if (ends(".h5") || ends(".msgpack"))
    return "its weights are TensorFlow's or Flax's (" + quoted +
           "), which are not read: " + kConvert;
  if (name.starts_with("model-00001-of-") && ends(".safetensors"))
    return "it holds " + quoted + " but not the index that lists the shards, " +
           "model.safetensors.index.json: download that, too";
  if (ends(".safetensors") && !name.starts_with("adapter_model"))
    return "if " + quoted + " is what it should be, give --weights that file";
  return "";
}

}  // namespace

bool looksLikePyTorch(const MappedFile& file) {
  constexpr std::string_view kZip("PK\x03\x04", 4);
  // A pickle of protocol 2 of torch.serialization.MAGIC_NUMBER.
  constexpr std::string_view kMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);
  if (file.text().starts_with(kMagic)) return true;
  // The first eight bytes of safetensors are a length below 2^32.
  uint32_t high = 0;
  if (file.size() >= 8) std::memcpy(&high, file.data() + 4, 4);
  return high != 0 && file.text().starts_with(kZip);
}

Status pyTorchRefused(const std::string& path) {
  return unsupported(path + ": holds PyTorch's weights, which are not read: " + kConvert);
}

Status noSafetensors(const std::string& directory) {
  std::string message =
      directory + ": holds neither model.safetensors nor model.safetensors.index.json";
  for (const std::string& name : filesOf(directory)) {
    const std::string what = advice(name);
    if (what.empty()) continue;
    message += "; " + what;
    break;
  }
  return notFound(std::move(message));
}

}  // namespace llmrt
