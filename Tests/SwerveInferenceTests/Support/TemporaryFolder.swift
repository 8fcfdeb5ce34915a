import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An empty folder that goes with the value, and what is in it.
final class TemporaryFolder {
  let path: String

  init() {
    var template = Array("/tmp/swerve-test-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template))
  }

  deinit {
    for name in files.names { unlink(path + "/" + name) }
    rmdir(path)
  }

  var files: ModelFiles { ModelFiles(folder: path) }

  func write(_ name: String, _ bytes: [UInt8]) {
    guard let file = fopen(path + "/" + name, "w") else { return }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
  }

  func read(_ name: String) throws -> [UInt8] { try files.file(name)?.withBytes { Array($0) } ?? [] }

  /// Copies files of another folder.
  func copy(_ names: String..., from other: ModelFiles) throws {
    for name in names { write(name, try other.file(name)?.withBytes { Array($0) } ?? []) }
  }
}
