// Every pass over the llm dialect, in the order the default pipeline runs them (Pipeline.cpp says why there).
#ifndef LLMC_PASSES_PASSES_TD
#define LLMC_PASSES_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Fusion. Each fires only where the values it takes inside have no other use. What was fused, and what nearly was and
// why not, is told in remarks.
//===----------------------------------------------------------------------===//

def FuseNormQkv : Pass<"llm-fuse-norm-qkv", "::llmc::llm::ModelOp"> {
  let summary = "norm + q, k, v projections (+ biases) (+ norms of heads) (+ rope on q and k) + kv_write -> norm_qkv";
  let description = [{
    Queries, keys and values go from the matrix product to RoPE and into the cache in registers. The fused op stands
    where kv_write stood, so the cache is written in the same order. Values may be what the keys' projection gives; a
    layer that reads the keys and values of one before it has queries alone.
  }];
  let statistics = [Statistic<"numFused", "fused", "kv_writes, and queries alone, turned into norm_qkv">];
}

def FuseNormGlu : Pass<"llm-fuse-norm-glu", "::llmc::llm::ModelOp"> {
  let summary = "norm + gate and up projections (+ biases) + activation + mul -> norm_glu";
  let statistics = [Statistic<"numFused", "fused", "products turned into norm_glu">];
}

def FuseNormProjections : Pass<"llm-fuse-norm-projections", "::llmc::llm::ModelOp"> {
  let summary = "what else products make of a norm -> norm_projections, and gates with their mul -> norm_linear";
  let statistics = [Statistic<"numFused", "fused", "norms turned into norm_projections">,
                    Statistic<"numGates", "gates", "gates turned into norm_linear">];
}

def FuseNormLinear : Pass<"llm-fuse-norm-linear", "::llmc::llm::ModelOp"> {
  let summary = "norm + projection (+ bias) + activation -> norm_linear, in MLPs without a gate";
  let statistics = [Statistic<"numFused", "fused", "activations turned into norm_linear">];
}

def FuseNormResidual : Pass<"llm-fuse-norm-residual", "::llmc::llm::ModelOp"> {
  let summary = "rms_norm + add (+ scale_by) -> norm_residual, where a model norms what joins the residual stream";
  let statistics = [Statistic<"numFused", "fused", "sums turned into norm_residual">,
                    Statistic<"numScales", "scales", "scale_by ops taken into norm_residual">];
}

def FuseResidual : Pass<"llm-fuse-residual", "::llmc::llm::ModelOp"> {
  let summary = "linear (+ bias) (+ scale) + add -> linear_residual, with the linear on either side of the add";
  let statistics = [Statistic<"numFused", "fused", "sums turned into linear_residual">];
}

def FuseNormLogits : Pass<"llm-fuse-norm-logits", "::llmc::llm::ModelOp"> {
  let summary = "norm + logits -> norm_logits, which norms the wanted rows only";
  let statistics = [Statistic<"numFused", "fused", "logits turned into norm_logits">];
}

//===----------------------------------------------------------------------===//
// Layout and schedule
//===----------------------------------------------------------------------===//

def PackWeights : Pass<"llm-pack-weights", "::llmc::llm::ModelOp"> {
  let summary = "declares one packed weight for each way in which kernels read the model's weights";
  let description = [{
    Asks every kernel op of every entry point how it reads its weights, and declares each distinct combination of
    sources, layout, order and head rows once. Matrices keep their type; norms and biases become f32.
  }];
  let statistics = [Statistic<"numPacked", "packed", "packed weights declared">];
}

def Schedule : Pass<"llm-schedule", "::llmc::llm::ModelOp"> {
  let summary = "turns entry points into buffers and phases, and collects the kernels they call";
  let description = [{
    Every op becomes a phase, every value a buffer with bytes of its own (llm-plan-memory lets them share), every
    decoder layer region an `llm.repeat`. The residual stream that a region of layers carries lives in one buffer, the
    same before, inside and after it. Phases that differ in nothing that a kernel is specialised to call one kernel.
    Needs the packed weights of llm-pack-weights.
  }];
  let statistics = [Statistic<"numPhases", "phases", "phases scheduled">,
                    Statistic<"numKernels", "kernels", "distinct kernels">];
}

def PlanMemory : Pass<"llm-plan-memory", "::llmc::llm::ModelOp"> {
  let summary = "lets buffers whose lives do not overlap share bytes of the arena";
  let description = [{
    Greedy first fit, the largest buffer first. A buffer that carries a value from one layer to the next, or into the
    layers from before them, lives through all of them. A phase's inputs and outputs never share bytes: its tiles run
    at the same time.
  }];
}

def CheckSchedule : Pass<"llm-check-schedule", "::llmc::llm::ModelOp"> {
  let summary = "proves each schedule: reads follow writes, live buffers do not overlap, every step ends";
  let description = [{
    The same check that runs on a plan (runtime/schema/schedule_check.h), on what the plan writer will write.
  }];
}

#endif
