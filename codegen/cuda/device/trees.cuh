// Trees of tokens: steps whose rows continue one another as parents and children (kinds verify and
// commit). A row's keys and values lie at its slot; its position says how deep it is. A row sees
// its branch, and gives the bits of the same tokens decoded one after another.

/// CacheRows of such a step. A row's parent is a row of the step before it; -1 where a tree begins.
/// Null is what an op has no use for: parents of what writes or moves, positions of what writes.
struct TreeRows : CacheRows {
  static constexpr bool kTrees = true;
  const int *slot, *parent;  // of each row
  DEVICE const int* slots() const { return slot; }
};

constexpr int kTreeRows = 64;  // of a step, at most

/// The rows from the beginning of a tree to one of its rows. In shared memory.
struct Branch {
  int parents[kTreeRows];  // of all rows of the step
  int rows[kTreeRows];     // of the branch, `count` of them
  int count;

  /// All threads call it, kTreeRows or more, and once.
  DEVICE void find(const int* parent, int num_rows, int row) {
    const int above = static_cast<int>(threadIdx.x);  // this thread's row is so many above `row`
    if (above < num_rows) parents[above] = loadAhead(parent + above);
    __syncthreads();
    int at = row;
    for (int i = 0; i < above && at >= 0; ++i) at = parents[at];
    if (at >= 0 && parents[at] < 0) count = above + 1;
    __syncthreads();
    if (at >= 0) rows[count - 1 - above] = at;
    __syncthreads();
  }
};

/// llm.kv_move: block (KV head), 128 threads. A thread has the same piece of every row, so no other
/// reads what it writes. It reads several rows before it writes them: a row's slot is not before
/// its position, so what is written is none of theirs that come later.
template <class Pool>
DEVICE void kvMove(const Args& a, const TreeRows& rows, void* keys, void* values) {
  typedef typename Pool::Element Element;
  constexpr int kPer = 16 / sizeof(Element), kKeyPieces = Pool::kPadded / kPer,
                kPieces = kKeyPieces + Pool::kValuePadded / kPer, kTogether = 8;
  const Step& step = *a.step;
  const int head = blockIdx.x, num_rows = static_cast<int>(step.num_rows);
  for (int piece = threadIdx.x; piece < kPieces; piece += 128) {
    const auto at = [&](int row, int place) {
      Element* const vector =
          piece < kKeyPieces ? Pool::at(keys, step, rows, rows.seq[row], place, head) + piece * kPer
                             : Pool::valueAt(values, step, rows, rows.seq[row], place, head) +
                                   (piece - kKeyPieces) * kPer;
      return reinterpret_cast<uint4*>(vector);
    };
    for (int first = 0; first < num_rows; first += kTogether) {
      uint4 moved[kTogether];
#pragma unroll
      for (int i = 0; i < kTogether; ++i)
        if (first + i < num_rows) moved[i] = *at(first + i, rows.slot[first + i]);
#pragma unroll
      for (int i = 0; i < kTogether; ++i)
        if (first + i < num_rows) *at(first + i, rows.pos[first + i]) = moved[i];
    }
  }
}
