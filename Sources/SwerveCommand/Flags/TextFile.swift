import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Small files that a person names: templates, keys, `@file.json`, results.
package enum TextFile {
  /// The whole file as text. Throws a sentence that names it.
  package static func read(_ path: String) throws(FlagError) -> String {
    do {
      let bytes = try FileBytes(mapping: path)
      return bytes.withBytes { String(decoding: $0, as: UTF8.self) }
    } catch {
      throw FlagError("cannot read \(path): \(error.reason)")
    }
  }

  /// Replaces the file. Throws a sentence that names it.
  package static func write(_ text: String, to path: String) throws(FlagError) {
    guard let file = fopen(path, "w") else { throw failure(path) }
    let bytes = Array(text.utf8)
    let written = fwrite(bytes, 1, bytes.count, file)
    if fclose(file) != 0 || written != bytes.count { throw failure(path) }
  }

  private static func failure(_ path: String) -> FlagError {
    FlagError("cannot write \(path): \(String(cString: strerror(errno)))")
  }
}
