// RUN: llmc-opt %s --llm-schedule --verify-diagnostics

llm.model @m architecture "llama" hidden_size 64 intermediate_size 96 num_heads 4 num_kv_heads 2 head_dim 16 num_layers 2 vocab_size 128 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "embed" : tensor<128x64xf32>
  llm.weight @norm norm "n.{layer}" : tensor<2x64xf32>
  llm.weight @lm_head matrix "lm_head" : tensor<128x64xf32>
  llm.entry @decode(%rows: !llm.rows) decode max_rows 4 {
    // expected-error@+1 {{cannot be scheduled: its weights are not packed, run llm-pack-weights first}}
    %x = llm.embed %rows, @embed_tokens : tensor<?x64xf32>
    %l = llm.logits %x, %rows, @lm_head : tensor<?x64xf32> -> tensor<?x128xf32>
    llm.return %l : tensor<?x128xf32>
  }
}
