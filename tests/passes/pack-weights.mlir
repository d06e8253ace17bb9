// RUN: llmc-opt %s --llm-pack-weights --split-input-file --verify-diagnostics | FileCheck %s

// Both entry points read the same packing; an embedding that the logits share lies in their panels.
// CHECK-LABEL: llm.model @tied
// CHECK-COUNT-1: llm.packed_weight @embed_tokens.panels panels concat of [@embed_tokens] : f16
// CHECK-NOT:     llm.packed_weight
// CHECK:         llm.entry @decode
llm.model @tied architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf16>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
  llm.entry @prefill(%rows: !llm.rows) prefill max_rows 64 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}

// -----

// An embedding of its own lies row by row; norms and biases become f32; three biases are one vector.
// CHECK-LABEL: llm.model @untied
// CHECK:       llm.packed_weight @embed_tokens.rows rows concat of [@embed_tokens] : bf16
// CHECK-NEXT:  llm.packed_weight @norm.rows rows concat of [@norm] : f32
// CHECK-NEXT:  llm.packed_weight @q_proj.k_proj.v_proj.heads panels heads of [@q_proj, @k_proj, @v_proj] head_rows 16 : bf16
// CHECK-NEXT:  llm.packed_weight @q_bias.k_bias.v_bias.rows rows concat of [@q_bias, @k_bias, @v_bias] : f32
// CHECK-NEXT:  llm.packed_weight @lm_head.panels panels concat of [@lm_head] : bf16
llm.model @untied architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xbf16>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xbf16>
  llm.weight @q_proj matrix "q.{layer}" : tensor<2x64x64xbf16>
  llm.weight @k_proj matrix "k.{layer}" : tensor<2x32x64xbf16>
  llm.weight @v_proj matrix "v.{layer}" : tensor<2x32x64xbf16>
  llm.weight @q_bias bias "qb.{layer}" : tensor<2x64xbf16>
  llm.weight @k_bias bias "kb.{layer}" : tensor<2x32xbf16>
  llm.weight @v_bias bias "vb.{layer}" : tensor<2x32xbf16>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xbf16>
  llm.state @kv : !llm.kv<2x16xf32> layers 0:2
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x64xf32> {
      %q = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj bias @q_bias, @k_bias, @v_bias : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llm.add %h, %q : tensor<?x64xf32>
      llm.yield %z : tensor<?x64xf32>
    }
    %l = llm.logits %y, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
