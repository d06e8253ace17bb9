# cmake -DOUT=FILE -DSOURCES=a;b -P EmbedSources.cmake: the device sources as one C++ raw string after another.
set(text "// Made from codegen/cuda/device by EmbedSources.cmake.\n")
foreach(source IN LISTS SOURCES)
  file(READ ${source} content)
  # A string literal may have 64 KB in every compiler; the files are far smaller.
  string(APPEND text "R\"llmc(${content})llmc\"\n")
endforeach()
file(WRITE ${OUT} "${text}")
