// Appended to the kernels' text: how a kernel is called with its argument by value.
template <class Argument>
struct ShimCall {
  void (*kernel)(Argument);
  const Argument* argument;
  static void run(void* self) {
    const auto* call = static_cast<const ShimCall*>(self);
    call->kernel(*call->argument);
    // A kernel that began early and did not wait would let the one after it begin before those
    // ahead have ended. Weights are laid out before there is any step.
    if (!std::is_same_v<Argument, Relayout> && !shim::self().waited)
      shim::fail("a thread ends without having waited for earlier kernels");
  }
};
template <class Argument>
void shimLaunch(void (*kernel)(), const void* argument, const unsigned grid[3], unsigned threads,
                unsigned dynamic_shared_bytes, unsigned cluster) {
  ShimCall<Argument> call{reinterpret_cast<void (*)(Argument)>(kernel),
                          static_cast<const Argument*>(argument)};
  llmc_shim_run(grid, threads, dynamic_shared_bytes, ShimCall<Argument>::run, &call, cluster);
}

/// The sizes of what kernels take, for a driver that launches them.
extern "C" const unsigned llmc_shim_argument_bytes[] = {sizeof(Args), sizeof(Relayout),
                                                        sizeof(Sample)};

/// A launch: `kernel` is the kernel's address, `argument_bytes` tells which argument it takes,
/// `cluster` how many blocks one has.
extern "C" int llmc_shim_launch(void (*kernel)(), const void* argument, unsigned argument_bytes,
                                const unsigned grid[3], unsigned threads,
                                unsigned dynamic_shared_bytes, unsigned cluster) {
  if (argument_bytes == sizeof(Args))
    shimLaunch<Args>(kernel, argument, grid, threads, dynamic_shared_bytes, cluster);
  else if (argument_bytes == sizeof(Relayout))
    shimLaunch<Relayout>(kernel, argument, grid, threads, dynamic_shared_bytes, cluster);
  else if (argument_bytes == sizeof(Sample))
    shimLaunch<Sample>(kernel, argument, grid, threads, dynamic_shared_bytes, cluster);
  else
    return 1;
  return 0;
}
