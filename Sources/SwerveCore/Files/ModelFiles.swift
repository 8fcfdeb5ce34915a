#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The files of one model by name: a folder on disk, or files inside the binary. Everything that loads a model
/// (weights, tokenizer, chat template) asks here, so that both behave alike.
public struct ModelFiles: Sendable {
  /// What to call this place in messages: the folder's path, or `<embedded>`.
  public let place: String
  private let source: Source

  private enum Source: Sendable {
    case folder(String)
    case memory([String: FileBytes])
  }

  public init(folder: String) {
    self.place = folder
    self.source = .folder(folder)
  }

  public init(place: String, memory: [String: FileBytes]) {
    self.place = place
    self.source = .memory(memory)
  }

  /// The file's bytes, mapped; nil where there is no such file. Throws where it exists and cannot be read.
  public func file(_ name: String) throws(FileError) -> FileBytes? {
    switch source {
    case .memory(let files): return files[name]
    case .folder(let folder):
      let path = folder + "/" + name
      guard access(path, F_OK) == 0 else { return nil }
      return try FileBytes(mapping: path)
    }
  }

  /// `name` as it should appear in an error sentence.
  public func path(_ name: String) -> String { place + "/" + name }

  public func contains(_ name: String) -> Bool {
    switch source {
    case .memory(let files): files[name] != nil
    case .folder(let folder): access(folder + "/" + name, F_OK) == 0
    }
  }

  /// Names of the files directly inside, sorted.
  public var names: [String] {
    switch source {
    case .memory(let files): return files.keys.sorted()
    case .folder(let folder):
      guard let directory = opendir(folder) else { return [] }
      defer { closedir(directory) }
      var names: [String] = []
      while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
          String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != "." && name != ".." { names.append(name) }
      }
      return names.sorted()
    }
  }

  /// Parses a JSON file; nil where there is none. The error names the file and what is wrong.
  public func json(_ name: String) throws(ModelFileError) -> JSON? {
    do {
      guard let bytes = try file(name) else { return nil }
      return try bytes.withBytes { (raw) throws(JSONError) in try JSON(parsing: raw) }
    } catch let error as JSONError {
      throw ModelFileError(file: path(name), reason: "\(error)")
    } catch let error as FileError {
      throw ModelFileError(file: path(name), reason: error.reason)
    } catch {
      throw ModelFileError(file: path(name), reason: "\(error)")
    }
  }
}

/// A model file that cannot be used. One sentence: which file, what is wrong and, where there is one, what would work.
/// The command ends with exit code 3.
public struct ModelFileError: Error, Equatable, CustomStringConvertible {
  public var file: String
  public var reason: String

  public init(file: String, reason: String) {
    self.file = file
    self.reason = reason
  }

  public var description: String { "\(file): \(reason)" }
}
