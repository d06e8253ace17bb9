// The structure of a plan: everything that is checked before any of it is used.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/io/status.h"

namespace llmrt {

namespace schema {
struct Plan;
}

/// Bytes of a file as a plan: FlatBuffers' verifier, file identifier, schema version, then every
/// index, size and offset of every table, and the schedules (schedule_check.h). What it returns may
/// be used without further checks and lives as long as `bytes`. It proves that the runtime and the
/// operands it hands out stay inside their buffers; that the machine code does so too cannot be
/// proved: opening a plan is trusting it.
Result<const schema::Plan*> verifyPlan(std::span<const uint8_t> bytes);

}  // namespace llmrt
