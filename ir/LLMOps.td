// The ops of the llm dialect.
#ifndef LLMC_IR_LLMOPS_TD
#define LLMC_IR_LLMOPS_TD

include "ir/LLMBase.td"

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

def LLM_ModelOp : LLM_Op<"model", [Symbol, SymbolTable, IsolatedFromAbove, NoTerminator, SingleBlock]> {
  let summary = "a model: its facts, weights and entry points";
  let description = [{
    ```mlir
    llm.model @mistral architecture "mistral" hidden_size 4096 intermediate_size 14336 num_heads 32 num_kv_heads 8
        head_dim 128 num_layers 32 vocab_size 32000 max_seq_len 4096 max_batch 1 {
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$architecture, I64Attr:$hidden_size,
      I64Attr:$intermediate_size, I64Attr:$num_heads, I64Attr:$num_kv_heads, I64Attr:$head_dim, I64Attr:$num_layers,
      I64Attr:$vocab_size, I64Attr:$max_seq_len, I64Attr:$max_batch);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `architecture` $architecture `hidden_size` $hidden_size `intermediate_size` $intermediate_size
    `num_heads` $num_heads `num_kv_heads` $num_kv_heads `head_dim` $head_dim `num_layers` $num_layers
    `vocab_size` $vocab_size `max_seq_len` $max_seq_len `max_batch` $max_batch attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def LLM_WeightOp : LLM_Op<"weight", [Symbol, HasParent<"ModelOp">]> {
  let summary = "a tensor of the checkpoint, or the same tensor of every layer";
  let description = [{
    `source` is the checkpoint's (HF) name; `{layer}` in it stands for the layer's number, and then the first dimension
    counts layers from `first_layer` on. With `experts` the next dimension counts experts, and `{expert}` in the source
    stands for the expert's number where each has a tensor of its own. `view` says where the weight lies in a stored
    tensor of another shape; `plus` is added to every element when it is read (Gemma's norms are stored less 1).
    ```mlir
    llm.weight @q_proj matrix "model.layers.{layer}.self_attn.q_proj.weight" : tensor<32x4096x4096xbf16>
    llm.weight @expert_up matrix "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight" experts 128
        : tensor<48x128x768x2048xbf16>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, LLM_WeightKindAttr:$kind, StrAttr:$source,
      DefaultValuedAttr<I64Attr, "0">:$first_layer, DefaultValuedAttr<I64Attr, "0">:$num_experts,
      OptionalAttr<LLM_ViewAttr>:$view, DefaultValuedAttr<F64Attr, "0.0">:$plus, TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = [{
    $sym_name `` $kind $source (`first_layer` $first_layer^)? (`experts` $num_experts^)? (`view` $view^)?
    (`plus` $plus^)? attr-dict `:` $type
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// True when the first dimension of the type counts layers.
    bool isPerLayer() { return getSource().contains("{layer}"); }
    ::mlir::LogicalResult verifyView();
    ::mlir::RankedTensorType getTensorType() { return ::llvm::cast<::mlir::RankedTensorType>(getType()); }
    /// The shape of one layer's (and one expert's) tensor.
    ::llvm::ArrayRef<int64_t> getLayerShape() {
      return getTensorType().getShape().drop_front((isPerLayer() ? 1 : 0) + (getNumExperts() ? 1 : 0));
    }
  }];
}

def LLM_RopeTableOp : LLM_Op<"rope_table", [Symbol, HasParent<"ModelOp">]> {
  let summary = "inverse frequencies of rotary embeddings; the session turns them into cos and sin";
  let description = [{
    ```mlir
    llm.rope_table @rope [1.0, 0.80584218776148187]
    ```
    Printed with all their digits. The generic form prints six: text that is to be read back must not be generic.
    Some models have other frequencies for long contexts (arXiv 2402.13753). A session whose max_seq_len is above
    `above` takes those, for all of its life: keys that were rotated by one table cannot meet queries of another.
    ```mlir
    llm.rope_table @rope scale 1.19 [1.0, 0.8] above 4096 [1.0, 0.4]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DenseF64ArrayAttr:$inv_freq,
      DefaultValuedAttr<F64Attr, "1.0">:$scale, DefaultValuedAttr<I64Attr, "0">:$long_above,
      OptionalAttr<DenseF64ArrayAttr>:$long_inv_freq);
  let assemblyFormat = [{
    $sym_name (`scale` $scale^)? custom<Doubles>($inv_freq)
    (`above` $long_above^ custom<Doubles>($long_inv_freq))? attr-dict
  }];
  let hasVerifier = 1;
}

def LLM_StateOp : LLM_Op<"state", [Symbol, HasParent<"ModelOp">]> {
  let summary = "what a sequence carries from step to step, in each of some layers";
  let description = [{
    Ops name the state they read and write. A state of type `!llm.kv` grows with the text: it is paged, and with
    `window` w a row reads its last w tokens only (its own included), so that the blocks before them are given back. A state of
    type `!llm.recurrent` has a fixed size. One of type `!llm.kept` is no sequence's: it holds what the last verify step
    leaves for the commit after it. `layers` are half-open ranges, ascending. Where layers share keys and values, one
    without a part of its own reads that of the last layer before it that has one. With `mtp` it is the MTP block's, which
    entries of kind mtp alone read and write.
    ```mlir
    llm.state @kv : !llm.kv<8x128xbf16> layers 0:32
    llm.state @kv_mtp : !llm.kv<8x128xbf16> mtp layers 0:1
    llm.state @kv_window512 : !llm.kv<4x256xbf16> window 512 layers 0:5, 6:11
    llm.state @delta : !llm.recurrent<48x128x128xf32> layers 0:3
    llm.state @kept_qkv : !llm.kept<64x12288xf32> layers 0:3
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, DefaultValuedAttr<I64Attr, "0">:$window,
      UnitAttr:$mtp, DenseI64ArrayAttr:$layers);
  let assemblyFormat = [{
    $sym_name `:` $type (`window` $window^)? (`mtp` $mtp^)? `layers` custom<LayerRanges>($layers) attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Null for a recurrent state.
    ::llmc::llm::KvCacheType getKvType() { return ::llvm::dyn_cast<::llmc::llm::KvCacheType>(getType()); }
    /// Null for a paged state.
    ::llmc::llm::RecurrentType getRecurrentType() {
      return ::llvm::dyn_cast<::llmc::llm::RecurrentType>(getType());
    }
    /// Null for a state that sequences carry.
    ::llmc::llm::KeptType getKeptType() { return ::llvm::dyn_cast<::llmc::llm::KeptType>(getType()); }
    /// Whether each of the layers [first, first + count) has it.
    bool hasLayers(int64_t first, int64_t count);
    /// The layers one by one.
    ::llvm::SmallVector<int64_t> getLayerNumbers();
    /// Whether none of the layers [first, first + count) has it, but one before them has, whose part they may read.
    bool isBefore(int64_t first, int64_t count);
    /// The layer whose part `layer` reads: itself, or the last one before it. There is one.
    int64_t getLayerReadBy(int64_t layer);
  }];
}

def LLM_EntryOp : LLM_Op<"entry", [Symbol, HasParent<"ModelOp">, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "an entry point: what one step computes";
  let description = [{
    Entry points differ in what their steps are for and in their bound on rows. The block argument is the row table.
    Every layer of the model runs once, in order; in an entry of kind mtp layer 0 of the MTP block, whose weights are of
    no layer. Where the model has such an entry the others return what it reads, the hidden row of each row.

    The rows of a `verify` step are tokens of trees: a row continues another row of the step, its parent, or the last
    token of its sequence before the step. Its `pos` is its depth in the sequence, but what it keeps lies at its `slot`,
    as tokens of several branches have the same position. A `commit` step moves what the rows of one branch keep from
    slot to position, computes nothing else but recurrent states anew, and returns nothing. Both have at most 64 rows.
    ```mlir
    llm.entry @decode(%rows: !llm.rows) decode max_rows 8 {
      %x = llm.embed %rows, @embed_tokens : tensor<?x4096xf32>
      %y = llm.layers %h = %x first 0 count 32 : tensor<?x4096xf32> {
        llm.yield %h : tensor<?x4096xf32>
      }
      %logits = llm.norm_logits %y, %rows norm @norm eps 1.0e-5, @lm_head : tensor<?x4096xf32> -> tensor<?x32000xf32>
      llm.return %logits : tensor<?x32000xf32>
    }
    llm.entry @commit(%rows: !llm.rows) commit max_rows 32 {
      llm.layers first 0 count 32 {
        llm.kv_move %rows, @kv
        llm.yield
      }
      llm.return
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, LLM_StepKindAttr:$kind, I64Attr:$max_rows);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::BlockArgument getRows() { return getBody().getArgument(0); }
  }];
}

def LLM_ReturnOp : LLM_Op<"return", [Terminator, HasParent<"EntryOp">]> {
  let summary = "the logits of the wanted rows, and hidden rows where some are asked for; nothing in a step of kind commit";
  let arguments = (ins Variadic<LLM_Rows2D>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let extraClassDeclaration = [{
    /// Null where there are none.
    ::mlir::Value getLogits() { return getValues().empty() ? ::mlir::Value() : getValues()[0]; }
    ::mlir::Value getHidden() { return getValues().size() < 2 ? ::mlir::Value() : getValues()[1]; }
  }];
  let hasVerifier = 1;
}

def LLM_LayersOp : LLM_Op<"layers", [HasParent<"EntryOp">, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames", "getAsmResultNames"]>]> {
  let summary = "decoder layers that have the same form, as a loop over the residual stream";
  let description = [{
    Layers that touch states alone have no residual stream (`llm.layers first 0 count 32`).
    ```mlir
    %y = llm.layers %h = %x first 0 count 32 : tensor<?x4096xf32> {
      %z = llm.norm_glu %h norm @post_attention_norm eps 1.0e-5 proj @gate_proj, @up_proj silu
             : tensor<?x4096xf32> -> tensor<?x14336xf32>
      %r = llm.linear_residual %z, %h, @down_proj : tensor<?x14336xf32> -> tensor<?x4096xf32>
      llm.yield %r : tensor<?x4096xf32>
    }
    ```
  }];
  let arguments = (ins Optional<LLM_Rows2D>:$init, I64Attr:$first_layer, I64Attr:$num_layers);
  let results = (outs Optional<LLM_Rows2D>:$result);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// Of layers with a residual stream.
    ::mlir::BlockArgument getIterArg() { return getBody().getArgument(0); }
  }];
}

def LLM_YieldOp : LLM_Op<"yield", [Terminator, ParentOneOf<["LayersOp", "KernelOp"]>]> {
  let summary = "the residual stream after a layer, or the results of a kernel";
  let arguments = (ins Variadic<LLM_Rows2D>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

//===----------------------------------------------------------------------===//
// Primitive ops
//===----------------------------------------------------------------------===//

def LLM_EmbedOp : LLM_ComputeOp<"embed", [Pure]> {
  let summary = "the embedding of each row's token, scaled, plus that of its position where positions are learned";
  let arguments = (ins LLM_RowsType:$rows, FlatSymbolRefAttr:$weight, OptionalAttr<FlatSymbolRefAttr>:$positions,
      DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$rows `,` $weight (`positions` $positions^)? (`scale` $scale^)? attr-dict `:` type($y)";
}

def LLM_HiddenOp : LLM_ComputeOp<"hidden", [Pure]> {
  let summary = "the hidden rows that an mtp step is given: what a step before it returned";
  let description = [{
    ```mlir
    %h = llm.hidden %rows : tensor<?x4096xf32>
    ```
  }];
  let arguments = (ins LLM_RowsType:$rows);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$rows attr-dict `:` type($y)";
}

def LLM_RmsNormOp : LLM_ComputeOp<"rms_norm", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "y = x / sqrt(mean(x^2) + eps) * weight (arXiv 1910.07467)";
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$weight, F64Attr:$eps);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $weight `eps` $eps attr-dict `:` type($y)";
}

def LLM_LayerNormOp : LLM_ComputeOp<"layer_norm", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias (arXiv 1607.06450); both may be absent";
  let arguments = (ins LLM_Rows2D:$x, OptionalAttr<FlatSymbolRefAttr>:$weight, OptionalAttr<FlatSymbolRefAttr>:$bias,
      F64Attr:$eps);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x (`weight` $weight^)? (`bias` $bias^)? `eps` $eps attr-dict `:` type($y)";
}

def LLM_QkNormOp : LLM_ComputeOp<"qk_norm", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "rms_norm (with `layer`: layer_norm) of each head by itself";
  let description = [{
    The weight has one value per element of a head, or of all heads where they differ. Without one nothing is
    multiplied.
  }];
  let arguments = (ins LLM_Rows2D:$x, OptionalAttr<FlatSymbolRefAttr>:$weight, UnitAttr:$layer, F64Attr:$eps,
      I64Attr:$head_dim);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x (`,` $weight^)? (`layer` $layer^)? `eps` $eps `head_dim` $head_dim attr-dict `:` type($y)";
}

def LLM_ScaleOp : LLM_ComputeOp<"scale", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "y = x * factor";
  let arguments = (ins LLM_Rows2D:$x, F64Attr:$factor);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `by` $factor attr-dict `:` type($y)";
}

def LLM_ScaleRowsOp : LLM_ComputeOp<"scale_rows", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "y = x * by, `by` one number per row, or one for each of equal parts of it (heads)";
  let arguments = (ins LLM_Rows2D:$x, LLM_Rows2D:$by);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $by attr-dict `:` type($x) `,` type($by)";
}

def LLM_ScaleByOp : LLM_ComputeOp<"scale_by", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "y = x * w, w a weight of one number";
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$weight);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $weight attr-dict `:` type($y)";
}

def LLM_ScaleByPosOp : LLM_ComputeOp<"scale_by_pos", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "y = x * (1 + growth * ln(1 + floor(pos / every)))";
  let description = [{
    Queries grow with the logarithm of their position, so that the softmax over a long text stays as sharp (Llama 4's
    attention temperature). In the first `every` positions nothing changes.
    ```mlir
    %q2 = llm.scale_by_pos %q, %rows growth 1.0e-01 every 16384 : tensor<?x4096xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x, LLM_RowsType:$rows, F64Attr:$growth, I64Attr:$every);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $rows `growth` $growth `every` $every attr-dict `:` type($y)";
}

def LLM_LayerSliceOp : LLM_ComputeOp<"layer_slice", [Pure]> {
  let summary = "the columns of x that are the layer's";
  let description = [{
    x is made before the layers and has as many columns for each: those of layer 0, then those of layer 1.
    ```mlir
    %p = llm.layer_slice %x : tensor<?x8960xf32> -> tensor<?x256xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($y)";
}

def LLM_ConcatOp : LLM_ComputeOp<"concat", [Pure]> {
  let summary = "each of `heads` heads of a, followed by the same head of b";
  let arguments = (ins LLM_Rows2D:$a, LLM_Rows2D:$b, I64Attr:$heads);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$a `,` $b `heads` $heads attr-dict `:` type($a) `,` type($b) `->` type($y)";
}

def LLM_LinearOp : LLM_ComputeOp<"linear", [Pure]> {
  let summary = "y = x W^T; W is [N, K]";
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$weight);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $weight attr-dict `:` type($x) `->` type($y)";
}

def LLM_HeadLinearOp : LLM_ComputeOp<"head_linear", [Pure]> {
  let summary = "y_h = x_h W_h^T for each of `heads` heads; W is [heads * N, K], the heads' matrices one after another";
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$weight, I64Attr:$heads);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $weight `heads` $heads attr-dict `:` type($x) `->` type($y)";
}

def LLM_BiasOp : LLM_ComputeOp<"bias", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "y = x + b, the same b for every row";
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$weight);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $weight attr-dict `:` type($y)";
}

def LLM_RopeOp : LLM_ComputeOp<"rope", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "rotates pairs (i, i + n/2) of each head's first n elements by pos * inv_freq[i] (arXiv 2104.09864)";
  let description = "n is twice the number of the table's frequencies; the elements after it stay as they are.";
  let arguments = (ins LLM_Rows2D:$x, LLM_RowsType:$rows, FlatSymbolRefAttr:$table, I64Attr:$head_dim);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $rows `,` $table `head_dim` $head_dim attr-dict `:` type($y)";
}

def LLM_KvWriteOp : LLM_ComputeOp<"kv_write", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "stores each row's keys and values at its position (verify: its slot), rounded to the state's type";
  let arguments = (ins LLM_Rows2D:$k, LLM_Rows2D:$v, LLM_RowsType:$rows, FlatSymbolRefAttr:$state);
  let assemblyFormat = "$k `,` $v `,` $rows `,` $state attr-dict `:` type($k) `,` type($v)";
}

def LLM_KvMoveOp : LLM_ComputeOp<"kv_move", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "moves each row's keys and values from its slot to its position in its sequence";
  let description = [{
    What a `commit` step does to a paged state, with the rows of the branch that was accepted. Rows are moved one after
    another: a slot is never before its row's position, but may be one that a row before it has left.
    ```mlir
    llm.kv_move %rows, @kv
    ```
  }];
  let arguments = (ins LLM_RowsType:$rows, FlatSymbolRefAttr:$state);
  let assemblyFormat = "$rows `,` $state attr-dict";
}

def LLM_KeepOp : LLM_ComputeOp<"keep", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "leaves x to the commit after this step";
  let description = [{
    A verify step leaves recurrent states as they are. What they will take of its rows it keeps, row r of the step as
    row r of the layer's rows.
    ```mlir
    llm.state @kept_qkv : !llm.kept<64x8192xf32> layers 0:3
    llm.keep %qkv, @kept_qkv : tensor<?x8192xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$state);
  let assemblyFormat = "$x `,` $state attr-dict `:` type($x)";
}

def LLM_KeptOp : LLM_ComputeOp<"kept", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "what the verify step before kept of each row";
  let description = [{
    In a commit step, whose rows were accepted. Recurrent states then go on by the ops that decoding has, from the same
    numbers, and so to the same bits.
    ```mlir
    %qkv = llm.kept %rows, @kept_qkv : tensor<?x8192xf32>
    %c = llm.causal_conv %qkv, %rows, @conv, @conv1d silu : tensor<?x8192xf32>
    ```
  }];
  let arguments = (ins LLM_RowsType:$rows, FlatSymbolRefAttr:$state);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$rows `,` $state attr-dict `:` type($y)";
}

def LLM_AttentionOp
    : LLM_ComputeOp<"attention", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "softmax(scale * q k^T) v over positions 0..pos of the row's sequence";
  let description = [{
    Grouped-query: query head h reads KV head h / (num_heads / num_kv_heads). Where the state has a window w, only the
    last w positions are attended (the row's own included). In a verify step the positions from the sequence's length
    before the step on are those of the row's ancestors and its own. Keys are walked in blocks of 64 on a grid that
    starts at position 0; per block (m, l, o) is computed with the block's own maximum, and blocks are merged in
    ascending order (arXiv 2205.14135), so the result depends neither on how rows are batched nor on the slots of a
    tree: a row gives the bits that its branch gives decoded alone. With `softcap` c a score s becomes
    c tanh(s / c). `sinks` has one score per query head that takes part in the softmax and has no value
    (arXiv 2309.17453). A layer that has no part of the state reads that of the last layer before it that has one.
  }];
  let arguments = (ins LLM_Rows2D:$q, LLM_RowsType:$rows, FlatSymbolRefAttr:$state, F64Attr:$scale,
      DefaultValuedAttr<F64Attr, "0.0">:$softcap, OptionalAttr<FlatSymbolRefAttr>:$sinks);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $q `,` $rows `,` $state `scale` $scale (`softcap` $softcap^)? (`sinks` $sinks^)? attr-dict
    `:` type($q) `->` type($y)
  }];
}

def LLM_CausalConvOp : LLM_ComputeOp<"causal_conv", [AllTypesMatch<["x", "y"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "a short convolution over the tokens of a sequence, each column by itself, and an activation";
  let description = [{
    y_t = activation(w_0 x_{t-n+1} + ... + w_{n-1} x_t + b) for a weight of n rows: row i holds the factors of what came
    n - 1 - i tokens before. The state is what the next token needs: x of the last n - 1 tokens, oldest first. Before a
    sequence's first token it is zero, which whoever hands out its slot sees to. Products are added oldest first, so
    rows of one step and of several give the same bits. In a verify step the tokens before a row are its ancestors, then
    those of the state, which stays as it is. With `times` y is multiplied by a gate of its width.
    ```mlir
    llm.state @conv : !llm.recurrent<3x8192xf32> layers 0:3
    %c = llm.causal_conv %qkv, %rows, @conv, @conv1d silu : tensor<?x8192xf32>
    %g = llm.causal_conv %x, %rows, @conv, @conv1d bias @conv_bias none times %gate : tensor<?x2048xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x, LLM_RowsType:$rows, FlatSymbolRefAttr:$state, FlatSymbolRefAttr:$weight,
      OptionalAttr<FlatSymbolRefAttr>:$bias, LLM_ActivationKindAttr:$activation, Optional<LLM_Rows2D>:$gate);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `,` $rows `,` $state `,` $weight (`bias` $bias^)? `` $activation (`times` $gate^)? attr-dict `:` type($y)
    (`,` type($gate)^)?
  }];
}

def LLM_GatedDeltaOp : LLM_ComputeOp<"gated_delta", [AllTypesMatch<["gate", "beta"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "linear attention by the gated delta rule (arXiv 2412.06464)";
  let description = [{
    The state of a sequence is a matrix S per value head, [key_dim, value_dim], zero before its first token (whoever
    hands out its slot sees to that). Per token and head, with k = k / sqrt(|k|^2 + eps) and
    q = q / sqrt(|q|^2 + eps) / sqrt(key_dim):

        S = decay S + k (sigmoid(beta) (v - k^T decay S))^T        decay = exp(-exp(a_log) softplus(gate + dt_bias))
        y = q^T S

    `qkv` has all heads of q, then those of k, then those of v, which may be a multiple: heads of v that follow each
    other share one of q and k, and with `tiled` head h of v has head h modulo their number. `gate` and `beta` have one
    number per head of v. The tokens of a sequence are taken one after another, and sums over key_dim are in its order,
    so rows of one step and of several give the same bits. In a verify step a row continues the S that its parent left,
    and the state stays as it is.
    ```mlir
    llm.state @delta : !llm.recurrent<32x128x128xf32> layers 0:3
    %y = llm.gated_delta %qkv, %gate, %beta, %rows, @delta, @a_log, @dt_bias eps 1.0e-6
       : tensor<?x8192xf32>, tensor<?x32xf32> -> tensor<?x4096xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$qkv, LLM_Rows2D:$gate, LLM_Rows2D:$beta, LLM_RowsType:$rows,
      FlatSymbolRefAttr:$state, FlatSymbolRefAttr:$a_log, FlatSymbolRefAttr:$dt_bias, F64Attr:$eps, UnitAttr:$tiled);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $qkv `,` $gate `,` $beta `,` $rows `,` $state `,` $a_log `,` $dt_bias `eps` $eps (`tiled` $tiled^)? attr-dict
    `:` type($qkv) `,` type($gate) `->` type($y)
  }];
  let extraClassDeclaration = [{
    /// The heads and their sizes, of an op whose state is verified.
    ::llmc::llm::DeltaHeads getHeads();
  }];
}

def LLM_SsdOp : LLM_ComputeOp<"ssd", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Mamba-2's state space layer (SSD, arXiv 2405.21060)";
  let description = [{
    The state of a sequence is a matrix S per head, [state_size, head_dim], zero before its first token (whoever hands
    out its slot sees to that). Per token and head, with t = softplus(dt + dt_bias), brought to [`from`, `to`] where
    those are given:

        S = exp(A t) S + B (t x)^T        A = -exp(a), with `rate` a itself
        y = S^T C + d x

    `xbc` has all heads of x, then all groups of B, then those of C: heads that follow each other share a group. `dt`
    has one number per head. The tokens of a sequence are taken one after another, and sums over state_size are in its
    order, so rows of one step and of several give the same bits. In a verify step a row continues the S that its parent
    left, and the state stays as it is. With `times` y is multiplied by a gate of its width.
    ```mlir
    llm.state @ssm : !llm.recurrent<48x128x64xf32> layers 0:3
    %y = llm.ssd %xbc, %dt, %rows, @ssm, @a_log, @dt_bias, @d
       : tensor<?x3328xf32>, tensor<?x48xf32> -> tensor<?x3072xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$xbc, LLM_Rows2D:$dt, LLM_RowsType:$rows, FlatSymbolRefAttr:$state,
      FlatSymbolRefAttr:$a, UnitAttr:$rate, FlatSymbolRefAttr:$dt_bias, FlatSymbolRefAttr:$d,
      OptionalAttr<F64Attr>:$from, OptionalAttr<F64Attr>:$to, Optional<LLM_Rows2D>:$gate);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $xbc `,` $dt `,` $rows `,` $state `,` $a (`rate` $rate^)? `,` $dt_bias `,` $d (`from` $from^)? (`to` $to^)?
    (`times` $gate^)? attr-dict `:` type($xbc) `,` type($dt) (`,` type($gate)^)? `->` type($y)
  }];
  let extraClassDeclaration = [{
    /// The heads and their sizes, of an op whose state is verified.
    ::llmc::llm::SsdHeads getHeads();
  }];
}

def LLM_ActivationOp : LLM_ComputeOp<"activation", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "elementwise nonlinearity";
  let arguments = (ins LLM_Rows2D:$x, LLM_ActivationKindAttr:$kind);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `` $kind attr-dict `:` type($y)";
}

def LLM_MulOp : LLM_ComputeOp<"mul", [Pure, AllTypesMatch<["a", "b", "y"]>]> {
  let summary = "y = a * b, element by element";
  let arguments = (ins LLM_Rows2D:$a, LLM_Rows2D:$b);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$a `,` $b attr-dict `:` type($y)";
}

def LLM_AddOp : LLM_ComputeOp<"add", [Pure, AllTypesMatch<["a", "b", "y"]>]> {
  let summary = "y = a + b, element by element";
  let arguments = (ins LLM_Rows2D:$a, LLM_Rows2D:$b);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$a `,` $b attr-dict `:` type($y)";
}

def LLM_RouteOp : LLM_ComputeOp<"route", [Pure]> {
  let summary = "the top_k experts of each row and their weights, from the router's outputs";
  let description = [{
    x has one column per expert. Scores are softmax(x) or sigmoid(x), with softmax_chosen x itself; `bias` is added to
    them for the choice only. With `groups` g the experts are g groups of equal size; the `keep` groups that have the
    largest sum of their `top` best scores stay (arXiv 2412.19437). The top_k largest of what is left are chosen, of
    equal ones the lower number. Their weights are their scores (with softmax_chosen the softmax over the chosen), with
    `normalize` divided by their sum, times `scale`, times their number in `expert_scale`.
    y: [numbers of the top_k experts..., their weights...].
    ```mlir
    %r = llm.route %s top_k 8 softmax normalize : tensor<?x128xf32> -> tensor<?x16xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x, I64Attr:$top_k, LLM_RouteScoringAttr:$scoring, UnitAttr:$normalize,
      DefaultValuedAttr<F64Attr, "1.0">:$scale, OptionalAttr<FlatSymbolRefAttr>:$bias,
      DefaultValuedAttr<I64Attr, "0">:$num_groups, DefaultValuedAttr<I64Attr, "0">:$keep_groups,
      DefaultValuedAttr<I64Attr, "0">:$group_top, OptionalAttr<FlatSymbolRefAttr>:$expert_scale);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `top_k` $top_k `` $scoring (`normalize` $normalize^)? (`scale` $scale^)? (`expert_scale` $expert_scale^)?
    (`bias` $bias^)? (`groups` $num_groups^ `keep` $keep_groups `top` $group_top)? attr-dict `:` type($x) `->` type($y)
  }];
}

def LLM_ExpertGluOp : LLM_ComputeOp<"expert_glu", [Pure]> {
  let summary = "norm_glu's two products with the matrices of the experts that each row was routed to";
  let description = [{
    `route` is an llm.route's result. y is top_k results one after another, in the order of the experts there. With
    `limit` c: y = act(min(gate, c)) * (max(min(up, c), -c) + 1). Without a second matrix: y = act(gate).
    ```mlir
    %g = llm.expert_glu %n, %r proj @expert_gate, @expert_up silu
           : tensor<?x2048xf32>, tensor<?x16xf32> -> tensor<?x6144xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x, LLM_Rows2D:$route, FlatSymbolRefAttr:$gate_proj,
      OptionalAttr<FlatSymbolRefAttr>:$up_proj,
      OptionalAttr<FlatSymbolRefAttr>:$gate_bias, OptionalAttr<FlatSymbolRefAttr>:$up_bias,
      LLM_ActivationKindAttr:$activation, DefaultValuedAttr<F64Attr, "0.0">:$limit);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `,` $route `proj` $gate_proj (`,` $up_proj^)? (`bias` $gate_bias^ (`,` $up_bias^)?)? `` $activation
    (`limit` $limit^)?
    attr-dict `:` type($x) `,` type($route) `->` type($y)
  }];
}

def LLM_ExpertDownOp : LLM_ComputeOp<"expert_down", [Pure]> {
  let summary = "y = the sum over a row's experts of weight * (x_expert W_expert^T + b_expert)";
  let description = "x is an llm.expert_glu's result. The sum goes over the experts in ascending order.";
  let arguments = (ins LLM_Rows2D:$x, LLM_Rows2D:$route, FlatSymbolRefAttr:$weight,
      OptionalAttr<FlatSymbolRefAttr>:$bias);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `,` $route `,` $weight (`bias` $bias^)? attr-dict `:` type($x) `,` type($route) `->` type($y)
  }];
}

def LLM_LogitsOp : LLM_ComputeOp<"logits", [Pure]> {
  let summary = "y[i] = softcap(scale * (x[wanted row i] W^T + b)); W is [vocab_size, hidden_size]";
  let arguments = (ins LLM_Rows2D:$x, LLM_RowsType:$rows, FlatSymbolRefAttr:$weight,
      OptionalAttr<FlatSymbolRefAttr>:$bias, DefaultValuedAttr<F64Attr, "1.0">:$scale,
      DefaultValuedAttr<F64Attr, "0.0">:$softcap);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `,` $rows `,` $weight (`bias` $bias^)? (`scale` $scale^)? (`softcap` $softcap^)? attr-dict
    `:` type($x) `->` type($y)
  }];
  let extraClassDeclaration = "bool onLogitsRows();";
}

//===----------------------------------------------------------------------===//
// Fused ops: the same ideas with more inside them
//===----------------------------------------------------------------------===//

def LLM_NormQkvOp : LLM_ComputeOp<"norm_qkv", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "norm, the three projections, biases, qk_norm and RoPE on q and k, and the KV write; gives q";
  let description = [{
    ```mlir
    %q = llm.norm_qkv %h, %rows, @kv norm @input_norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj
           bias @q_bias, @k_bias, @v_bias rope @rope : tensor<?x4096xf32> -> tensor<?x4096xf32>
    ```
    The norm is rms_norm, with `layer` layer_norm, here and in the other fused ops. qk_norm is that of heads, by rms;
    with `v_norm` the values' heads have one too, without a weight. Without `v_proj` the values are what k_proj gives,
    before norm and rotation. Without `k_proj` nothing is written, for a layer that reads the state of one before it.
  }];
  let arguments = (ins LLM_Rows2D:$x, LLM_RowsType:$rows, FlatSymbolRefAttr:$state, FlatSymbolRefAttr:$norm,
      OptionalAttr<FlatSymbolRefAttr>:$norm_bias, UnitAttr:$layer, F64Attr:$eps, FlatSymbolRefAttr:$q_proj,
      OptionalAttr<FlatSymbolRefAttr>:$k_proj, OptionalAttr<FlatSymbolRefAttr>:$v_proj,
      OptionalAttr<FlatSymbolRefAttr>:$q_bias, OptionalAttr<FlatSymbolRefAttr>:$k_bias,
      OptionalAttr<FlatSymbolRefAttr>:$v_bias, OptionalAttr<FlatSymbolRefAttr>:$q_norm,
      OptionalAttr<FlatSymbolRefAttr>:$k_norm, OptionalAttr<F64Attr>:$qk_eps, UnitAttr:$v_norm,
      OptionalAttr<FlatSymbolRefAttr>:$rope);
  let results = (outs LLM_Rows2D:$q);
  let assemblyFormat = [{
    $x `,` $rows `,` $state `norm` $norm (`shift` $norm_bias^)? (`layer` $layer^)? `eps` $eps
    `proj` $q_proj (`,` $k_proj^)? (`,` $v_proj^)? (`bias` $q_bias^ `,` $k_bias `,` $v_bias)?
    (`qk_norm` $q_norm^)? (`,` $k_norm^)? (`eps` $qk_eps^)? (`v_norm` $v_norm^)? (`rope` $rope^)? attr-dict
    `:` type($x) `->` type($q)
  }];
}

def LLM_NormGluOp : LLM_ComputeOp<"norm_glu", [Pure]> {
  let summary = "y = act(n W_gate^T + b_gate) * (n W_up^T + b_up), n = norm(x) (arXiv 2002.05202)";
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$norm, OptionalAttr<FlatSymbolRefAttr>:$norm_bias,
      UnitAttr:$layer, F64Attr:$eps, FlatSymbolRefAttr:$gate_proj,
      FlatSymbolRefAttr:$up_proj, OptionalAttr<FlatSymbolRefAttr>:$gate_bias,
      OptionalAttr<FlatSymbolRefAttr>:$up_bias, LLM_ActivationKindAttr:$activation);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `norm` $norm (`shift` $norm_bias^)? (`layer` $layer^)? `eps` $eps `proj` $gate_proj `,` $up_proj
    (`bias` $gate_bias^ `,` $up_bias)? `` $activation attr-dict `:` type($x) `->` type($y)
  }];
}

def LLM_NormLinearOp : LLM_ComputeOp<"norm_linear", [Pure]> {
  let summary = "y = act(n W^T + b), n = norm(x): the first half of an MLP without a gate, or a gate";
  let description = [{
    With `times` y is multiplied by what the gate is for: what attention gives, say.
    ```mlir
    %g = llm.norm_linear %h norm @input_norm eps 1.0e-6 proj @output_gate sigmoid times %attention
       : tensor<?x2048xf32>, tensor<?x4096xf32> -> tensor<?x4096xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$norm, OptionalAttr<FlatSymbolRefAttr>:$norm_bias,
      UnitAttr:$layer, F64Attr:$eps, FlatSymbolRefAttr:$weight, OptionalAttr<FlatSymbolRefAttr>:$bias,
      LLM_ActivationKindAttr:$activation, Optional<LLM_Rows2D>:$gated);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `norm` $norm (`shift` $norm_bias^)? (`layer` $layer^)? `eps` $eps `proj` $weight (`bias` $bias^)?
    `` $activation (`times` $gated^)? attr-dict `:` type($x) (`,` type($gated)^)? `->` type($y)
  }];
}

def LLM_NormProjectionsOp : LLM_ComputeOp<"norm_projections", [Pure]> {
  let summary = "y_i = act_i(n W_i^T + b_i), n = norm(x): what else than q, k and v a layer makes of its norm";
  let description = [{
    ```mlir
    %z, %xbc, %dt = llm.norm_projections %h norm @input_norm eps 1.0e-5
       proj [#llm.projection<@in_proj_z act silu>, #llm.projection<@in_proj_xbc>, #llm.projection<@in_proj_dt>]
       : tensor<?x768xf32> -> tensor<?x1536xf32>, tensor<?x1792xf32>, tensor<?x24xf32>
    ```
  }];
  let arguments = (ins LLM_Rows2D:$x, FlatSymbolRefAttr:$norm, OptionalAttr<FlatSymbolRefAttr>:$norm_bias,
      UnitAttr:$layer, F64Attr:$eps, TypedArrayAttrBase<LLM_ProjectionAttr, "projections">:$projections);
  let results = (outs Variadic<LLM_Rows2D>:$ys);
  let assemblyFormat = [{
    $x `norm` $norm (`shift` $norm_bias^)? (`layer` $layer^)? `eps` $eps `proj` $projections
    attr-dict `:` type($x) `->` type($ys)
  }];
  let extraClassDeclaration = [{
    /// Those of its results, in their order.
    ::llvm::SmallVector<::llmc::llm::ProjectionAttr> projections() {
      return ::llvm::to_vector(getProjections().getAsRange<::llmc::llm::ProjectionAttr>());
    }
  }];
}

def LLM_LinearResidualOp : LLM_ComputeOp<"linear_residual", [Pure, AllTypesMatch<["residual", "y"]>]> {
  let summary = "y = residual + scale * (x W^T + b)";
  let arguments = (ins LLM_Rows2D:$x, LLM_Rows2D:$residual, FlatSymbolRefAttr:$weight,
      OptionalAttr<FlatSymbolRefAttr>:$bias, DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `,` $residual `,` $weight (`bias` $bias^)? (`scale` $scale^)? attr-dict `:` type($x) `->` type($y)
  }];
}

def LLM_NormResidualOp : LLM_ComputeOp<"norm_residual", [Pure, AllTypesMatch<["x", "residual", "y"]>]> {
  let summary = "y = residual + rms_norm(x), times a weight of one number where there is one";
  let arguments = (ins LLM_Rows2D:$x, LLM_Rows2D:$residual, FlatSymbolRefAttr:$norm, F64Attr:$eps,
      OptionalAttr<FlatSymbolRefAttr>:$scale);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = "$x `,` $residual `norm` $norm `eps` $eps (`scale` $scale^)? attr-dict `:` type($y)";
}

def LLM_NormLogitsOp : LLM_ComputeOp<"norm_logits", [Pure]> {
  let summary = "logits of norm(x), for the wanted rows";
  let arguments = (ins LLM_Rows2D:$x, LLM_RowsType:$rows, FlatSymbolRefAttr:$norm,
      OptionalAttr<FlatSymbolRefAttr>:$norm_bias, UnitAttr:$layer, F64Attr:$eps, FlatSymbolRefAttr:$weight,
      OptionalAttr<FlatSymbolRefAttr>:$bias, DefaultValuedAttr<F64Attr, "1.0">:$scale,
      DefaultValuedAttr<F64Attr, "0.0">:$softcap);
  let results = (outs LLM_Rows2D:$y);
  let assemblyFormat = [{
    $x `,` $rows `norm` $norm (`shift` $norm_bias^)? (`layer` $layer^)? `eps` $eps `,` $weight (`bias` $bias^)?
    (`scale` $scale^)? (`softcap` $softcap^)? attr-dict `:` type($x) `->` type($y)
  }];
  let extraClassDeclaration = "bool onLogitsRows();";
}

//===----------------------------------------------------------------------===//
// Scheduled form: what the passes leave for code generation and the plan writer
//===----------------------------------------------------------------------===//

def LLM_PackedWeightOp : LLM_Op<"packed_weight", [Symbol, HasParent<"ModelOp">,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "weights as they lie in the weights file: one or more sources in one layout";
  let description = [{
    ```mlir
    llm.packed_weight @q_proj.k_proj.v_proj.heads panels heads of [@q_proj, @k_proj, @v_proj] head_rows 128 : bf16
    llm.packed_weight @input_norm.rows rows concat of [@input_norm] : f32
    ```
    Norms and biases are kept in f32, matrices in the weights' own type.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, LLM_LayoutAttr:$layout, LLM_PanelOrderAttr:$order,
      TypedArrayAttrBase<FlatSymbolRefAttr, "weights">:$sources, DefaultValuedAttr<I64Attr, "0">:$head_rows,
      TypeAttr:$element_type);
  let assemblyFormat = [{
    $sym_name `` $layout `` $order `of` $sources (`head_rows` $head_rows^)? attr-dict `:` $element_type
  }];
}

def LLM_KernelOp : LLM_Op<"kernel", [Symbol, HasParent<"ModelOp">, SingleBlock, IsolatedFromAbove,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "one op to be compiled as a kernel, specialised to its types, its kind of step and its bound on rows";
  let description = [{
    The region holds exactly one KernelOpInterface op and `llm.yield`; its block arguments are the op's operands.
    `row_stride`s of the tensors in the arena are the buffers' of the phases that call it: [inputs..., results...].
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, LLM_StepKindAttr:$kind, I64Attr:$max_rows,
      DenseI64ArrayAttr:$row_strides);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `` $kind `max_rows` $max_rows `row_strides` $row_strides attr-dict-with-keyword $body
  }];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The op that the kernel computes.
    ::llmc::llm::KernelOpInterface getComputeOp() {
      return ::llvm::cast<::llmc::llm::KernelOpInterface>(getBody().front().front());
    }
  }];
}

def LLM_ScheduleOp : LLM_Op<"schedule", [Symbol, SymbolTable, HasParent<"ModelOp">, NoTerminator, SingleBlock,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "an entry point as buffers and an ordered list of phases";
  let description = "Without `logits`, which a schedule of kind commit has not, max_logits_rows is 0.";
  let arguments = (ins SymbolNameAttr:$sym_name, LLM_StepKindAttr:$kind, I64Attr:$max_rows,
      I64Attr:$max_logits_rows, I64Attr:$arena_bytes, OptionalAttr<FlatSymbolRefAttr>:$logits,
      OptionalAttr<FlatSymbolRefAttr>:$hidden);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `` $kind `max_rows` $max_rows `max_logits_rows` $max_logits_rows `arena_bytes` $arena_bytes
    (`logits` $logits^)? (`hidden` $hidden^)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def LLM_BufferOp : LLM_Op<"buffer", [Symbol, HasParent<"ScheduleOp">]> {
  let summary = "a buffer of activations in the arena: [rows, row_stride] at offset_bytes, of f32 where no type stands";
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$offset_bytes, I64Attr:$rows, I64Attr:$width,
      I64Attr:$row_stride, OptionalAttr<TypeAttr>:$element);
  let assemblyFormat = [{
    $sym_name `offset` $offset_bytes `rows` $rows `width` $width `row_stride` $row_stride (`:` $element^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Type getElementType() {
      return getElement().value_or(::mlir::Float32Type::get(getContext()));
    }
    /// Without what aligns the next buffer.
    int64_t getBytes();
  }];
}

def LLM_RepeatOp : LLM_Op<"repeat", [HasParent<"ScheduleOp">, NoTerminator, SingleBlock]> {
  let summary = "phases that run once per layer";
  let arguments = (ins I64Attr:$first_layer, I64Attr:$num_layers);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`first_layer` $first_layer `num_layers` $num_layers attr-dict-with-keyword $body";
}

def LLM_PhaseOp : LLM_Op<"phase", [ParentOneOf<["ScheduleOp", "RepeatOp"]>]> {
  let summary = "one kernel over all its tiles; begins when every earlier phase has ended";
  let description = [{
    ```mlir
    llm.phase @linear_residual_4096x4096_bf16_decode tiles 64 rows_per_tile 0
        [#llm.operand<read arena @attention>, #llm.operand<read arena @residual>,
         #llm.operand<read weights @o_proj.panels>, #llm.operand<write arena @linear_residual>]
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, I64Attr:$tiles, I64Attr:$rows_per_tile,
      TypedArrayAttrBase<LLM_OperandAttr, "operands">:$operands);
  let assemblyFormat = "$kernel `tiles` $tiles `rows_per_tile` $rows_per_tile $operands attr-dict";
}

#endif
