#include "codegen/plan/QuantizeTensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "codegen/plan/MappedPages.h"
#include "codegen/plan/Quantize.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/printable.h"
#include "runtime/io/stored_blocks.h"
#include "runtime/io/tensor_name.h"
#include "runtime/schema/stored_weights.h"
#include "runtime/schema/weight_view.h"

namespace llmc {
namespace {

using llmrt::Result;
using llmrt::Status;
using llmrt::Tensor;
using llmrt::WeightFormat;

constexpr int kMaxThreads = 8;
// Values that a thread takes at once: some milliseconds.
constexpr int64_t kValuesAtOnce = 1 << 16;

/// Memory of a file that has no name and ends with this.
class ScratchFile {
 public:
  ScratchFile() = default;
  ScratchFile(ScratchFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  ~ScratchFile() {
    if (data_) ::munmap(data_, size_);
  }

  static Result<ScratchFile> create(const std::filesystem::path& folder, size_t size) {
    const std::string place = folder.empty() ? "." : folder.string();
    const auto failure = [&] {
      return llmrt::ioError(fmt::format("{}: no room for {:.1f} GiB of quantised weights: {}",
                                        place, static_cast<double>(size) / 0x1p30,
                                        std::strerror(errno)));
    };
    std::string name = place + "/.llmc-quantised-XXXXXX";
    const int fd = ::mkstemp(name.data());
    if (fd < 0) return failure();
    ::unlink(name.c_str());
    ScratchFile file;
    // Room that is not there shows here, not as a SIGBUS while it is filled in.
    if (const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size)); error != 0) {
      errno = error;
    } else if (void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
               data != MAP_FAILED) {
      file.data_ = static_cast<uint8_t*>(data);
      file.size_ = size;
    }
    const int error = errno;
    ::close(fd);
    errno = error;
    if (!file.data_) return failure();
    return file;
  }
  uint8_t* data() { return data_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

class QuantizedTensors final : public llmrt::TensorSource {
 public:
  explicit QuantizedTensors(const llmrt::TensorSource& source) : source_(source) {}

  /// Plans to quantise the tensor that the plan calls `name`, once.
  Status add(const std::string& name, const Tensor& tensor, const WeightFormat& format) {
    const auto [it, is_new] = tensors_.try_emplace(name, Item{&tensor, &format, tensor});
    if (is_new) return {};
    if (it->second.format == &format) return {};
    return llmrt::invalidData(fmt::format("{}: tensor {} is wanted in {} and in {}", path(),
                                          llmrt::quotedName(storedName(name)),
                                          it->second.format->name, format.name));
  }
  bool empty() const { return tensors_.empty(); }

  Status quantize(const std::filesystem::path& folder,
                  const std::function<bool(uint64_t, uint64_t)>& progress) {
    uint64_t size = 0, total = 0;
    for (auto& [name, item] : tensors_) {
      item.tensor.blocks = &llmrt::planeBlocks(*item.format);
      item.tensor.bytes =
          static_cast<uint64_t>(item.rows() * item.tensor.blocks->rowBytes(item.cols()));
      item.offset = size;
      size += item.tensor.bytes;
      total += static_cast<uint64_t>(item.rows() * item.cols());
    }
    LLMRT_ASSIGN_OR_RETURN(ScratchFile created, ScratchFile::create(folder, size));
    file_.emplace(std::move(created));
    uint64_t done = 0;
    for (auto& [name, item] : tensors_) {
      item.tensor.data = file_->data() + item.offset;
      item.tensor.file_backed = true;
      const auto count = [&](int64_t values) {
        done += static_cast<uint64_t>(values);
        return !progress || progress(done, total);
      };
      LLMRT_RETURN_IF_ERROR(quantizeTensor(item, count));
    }
    return {};
  }

  Result<const Tensor*> find(std::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found != tensors_.end()) return &found->second.tensor;
    return source_.find(name);
  }
  std::vector<std::string> names() const override { return source_.names(); }
  const std::string& path() const override { return source_.path(); }
  std::string placeOf(std::string_view name) const override { return source_.placeOf(name); }
  std::string storedName(std::string_view name) const override { return source_.storedName(name); }

 private:
  struct Item {
    const Tensor* from;
    const WeightFormat* format;
    Tensor tensor;  // the quantised one
    uint64_t offset = 0;

    int64_t cols() const { return from->shape.back(); }
    int64_t rows() const {
      int64_t rows = 1;
      for (size_t i = 0; i + 1 < from->shape.size(); ++i) rows *= from->shape[i];
      return rows;
    }
  };

  /// False where a value is not finite.
  static bool quantizeRow(const Item& item, int64_t row, uint8_t* out) {
    const WeightFormat& format = *item.format;
    const uint8_t* data = item.from->data + row * item.cols() * llmrt::dtypeBytes(item.from->dtype);
    float values[WeightFormat::kMaxBlock];
    for (int64_t first = 0; first < item.cols(); first += format.block) {
      bool finite = true;
      for (int64_t i = 0; i < format.block; ++i) {
        values[i] = llmrt::loadAsF32(item.from->dtype, data, first + i);
        finite &= std::isfinite(values[i]);
      }
      if (!finite) return false;
      uint8_t* planes[WeightFormat::kMaxPlanes];
      for (int p = 0; p < format.num_planes; ++p) {
        planes[p] = out;
        out += format.planes[p].per_block * llmrt::dtypeBytes(format.planes[p].dtype);
      }
      quantizeBlock(format, values, planes);
    }
    return true;
  }

  Status quantizeTensor(Item& item, const std::function<bool(int64_t)>& count) {
    const int64_t rows = item.rows(), step = std::max<int64_t>(kValuesAtOnce / item.cols(), 1);
    const int64_t row_bytes = item.tensor.blocks->rowBytes(item.cols());
    std::atomic<int64_t> next = 0;
    std::atomic<bool> finite = true, goes_on = true;
    std::mutex counting;
    const auto work = [&] {
      for (int64_t first; goes_on && (first = next.fetch_add(step)) < rows;) {
        const int64_t end = std::min(first + step, rows);
        for (int64_t row = first; row < end; ++row) {
          uint8_t* to = file_->data() + item.offset + row * row_bytes;
          if (!quantizeRow(item, row, to)) finite = goes_on = false;
        }
        // Mapped pages count as ours: give them back (the files keep them).
        const int64_t from_bytes = item.cols() * llmrt::dtypeBytes(item.from->dtype);
        const auto part = [&](const uint8_t* data, int64_t bytes) {
          return std::span(data + first * bytes, static_cast<size_t>((end - first) * bytes));
        };
        if (item.from->file_backed) advise(part(item.from->data, from_bytes), MADV_DONTNEED);
        advise(part(item.tensor.data, row_bytes), MADV_DONTNEED);
        const std::lock_guard lock(counting);
        if (!count((end - first) * item.cols())) goes_on = false;
      }
    };
    std::vector<std::thread> threads;
    const int wanted =
        std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
    try {
      while (static_cast<int>(threads.size()) + 1 < wanted) threads.emplace_back(work);
    } catch (const std::system_error&) {
      // Fewer threads than wanted: this one works too.
    }
    work();
    for (std::thread& thread : threads) thread.join();
    if (!finite)
      return llmrt::invalidData(fmt::format("{}: tensor {} has a value that is not finite", path(),
                                            llmrt::quotedName(storedName(item.tensor.name))));
    return goes_on ? Status()
                   : Status(llmrt::StatusCode::kCancelled,
                            path() + ": interrupted, nothing was written");
  }

  const llmrt::TensorSource& source_;
  std::map<std::string, Item, std::less<>> tensors_;
  std::optional<ScratchFile> file_;
};

/// Of the stored tensor that a matrix comes from.
std::vector<int64_t> shapeOf(const llmrt::schema::WeightSourceT& source) {
  if (source.view) return llmrt::viewOf(*source.view).stored;
  return {static_cast<int64_t>(source.rows), static_cast<int64_t>(source.cols)};
}

}  // namespace

Result<std::unique_ptr<llmrt::TensorSource>> quantizeTensors(
    const llmrt::schema::PlanT& plan, const llmrt::TensorSource& source, const std::string& beside,
    const std::function<bool(uint64_t, uint64_t)>& progress) {
  auto quantized = std::make_unique<QuantizedTensors>(source);
  for (const auto& w : plan.weights) {
    const WeightFormat* format = llmrt::formatOf(*w);
    if (!format || format->isPlain()) continue;
    for (const auto& s : w->sources) {
      if (s->kind != 0) continue;
      const uint32_t experts = llmrt::namesExpert(s->name) ? std::max(1u, w->num_experts) : 1;
      for (uint32_t l = 0; l < std::max(1u, w->num_layers); ++l) {
        for (uint32_t e = 0; e < experts; ++e) {
          const std::string name = llmrt::tensorName(s->name, w->first_layer + l, e);
          LLMRT_ASSIGN_OR_RETURN(const Tensor* tensor, source.find(name));
          // What is missing or has another shape is said when it is packed.
          if (!tensor || tensor->blocks || tensor->shape != shapeOf(*s) ||
              tensor->shape.back() % format->block != 0)
            continue;
          LLMRT_RETURN_IF_ERROR(quantized->add(name, *tensor, *format));
        }
      }
    }
  }
  if (quantized->empty()) return std::unique_ptr<llmrt::TensorSource>();
  LLMRT_RETURN_IF_ERROR(quantized->quantize(std::filesystem::path(beside).parent_path(), progress));
  return std::unique_ptr<llmrt::TensorSource>(std::move(quantized));
}

}  // namespace llmc
