import SwerveCore
import SwerveInference
import Testing

@Suite struct SafetensorsTests {
  /// A file with this header text and that many data bytes.
  private func file(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
    let count = (length ?? UInt64(header.utf8.count)).littleEndian
    return withUnsafeBytes(of: count) { Array($0) } + Array(header.utf8) + [UInt8](repeating: 0, count: data)
  }

  private func parse(_ bytes: [UInt8]) throws(ModelFileError) -> SafetensorsHeader {
    let result = bytes.withUnsafeBytes { raw in
      Result { () throws(ModelFileError) in try SafetensorsHeader(raw, file: "m.safetensors") }
    }
    return try result.get()
  }

  @Test func `a header with tensors out of order, metadata and padding is read`() throws {
    let header = try parse(
      file(
        #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[6,14]},"#
          + #""a":{"shape":[3],"dtype":"BF16","data_offsets":[0,6]},"s":{"dtype":"U8","shape":[],"data_offsets":[14,15]},"#
          + #""e":{"dtype":"F16","shape":[0,7],"data_offsets":[15,15]}}   "#, data: 15))
    #expect(header.entries.map(\.name) == ["a", "b", "s", "e"])
    #expect(header.entries.map(\.shape) == [[3], [2, 1], [], [0, 7]])
    #expect(header.entries.map(\.range.count) == [6, 8, 1, 0])
    #expect(header.metadata == ["format": "pt"])
  }

  private static let tensor = #""dtype":"F32","shape":[1]"#

  @Test(
    arguments: [
      (#"{"#, 0, nil, "not JSON"),
      (#"[]"#, 0, nil, "does not begin with"),
      (#" {}"#, 0, nil, "does not begin with"),
      (#"{} x"#, 0, nil, "not JSON"),
      (#"{}"#, 4, nil, "4 bytes after the last tensor"),
      (#"{}"#, 0, 3 as UInt64?, "download it again"),
      (#"{}"#, 0, UInt64.max, "allows at most"),
      (#"{}"#, 0, 1 << 40, "allows at most"),
      (#"{"a":1}"#, 0, nil, "expected an object"),
      (#"{"a":{\#(tensor),"data_offsets":[0,4]},"a":{\#(tensor),"data_offsets":[0,4]}}"#, 4, nil, "listed twice"),
      (#"{"a":{\#(tensor)}}"#, 4, nil, "data_offsets"),
      (#"{"a":{\#(tensor),"data_offsets":[0,4],"more":1}}"#, 4, nil, "unknown member"),
      (#"{"a":{\#(tensor),"data_offsets":[4,0]}}"#, 4, nil, "begin ≤ end"),
      (#"{"a":{\#(tensor),"data_offsets":[-4,0]}}"#, 4, nil, "begin ≤ end"),
      (#"{"a":{\#(tensor),"data_offsets":[0,8]}}"#, 8, nil, "span 8 bytes"),
      (#"{"a":{\#(tensor),"data_offsets":[0,4]}}"#, 2, nil, "it was cut"),
      (#"{"a":{\#(tensor),"data_offsets":[4,8]}}"#, 8, nil, "belong to no tensor"),
      (#"{"a":{\#(tensor),"data_offsets":[0,4]},"b":{\#(tensor),"data_offsets":[2,6]}}"#, 6, nil, "overlap"),
      (#"{"a":{\#(tensor),"data_offsets":[0,4]},"b":{\#(tensor),"data_offsets":[0,4]}}"#, 4, nil, "overlap"),
      (#"{"a":{\#(tensor),"data_offsets":[9223372036854775803,9223372036854775807]}}"#, 4, nil, "beyond any file"),
      (#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4, nil, "unknown dtype"),
      (#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4, nil, "non-negative integers"),
      (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, nil, "non-negative integers"),
      (
        #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4, nil,
        "more elements than memory"
      ),
      (#"{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}}"#, 4, nil, "whole bytes"),
      (#"{"__metadata__":{"n":1}}"#, 0, nil, "must be a string"),
    ] as [(String, Int, UInt64?, String)])
  func `a damaged header is refused with its reason`(header: String, data: Int, length: UInt64?, reason: String) {
    let error = #expect(throws: ModelFileError.self) { try parse(file(header, data: data, length: length)) }
    #expect(error?.description.hasPrefix("m.safetensors: ") == true)
    #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "none")")
  }

  @Test(arguments: [0, 1, 7]) func `a file shorter than its length field is refused`(count: Int) {
    #expect(throws: ModelFileError.self) { try parse([UInt8](repeating: 0, count: count)) }
  }

  @Test func `no mutation of a valid file traps, and what is accepted lies inside the file`() throws {
    let valid = file(
      #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
        + #""b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"#, data: 32)
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = Randomness(seed: seed)
    let interesting = Array("{}[]\",:0123456789-eE.\\ \u{0}".utf8)
    var accepted = 0
    for _ in 0..<20_000 {
      var bytes = valid
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[place] = interesting.randomElement(using: &random) ?? 0
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...9, using: &random)))
        case 3: bytes.insert(interesting.randomElement(using: &random) ?? 0, at: place)
        default: bytes.append(0)
        }
        if bytes.isEmpty { bytes = valid }
      }
      guard let header = try? parse(bytes) else { continue }
      accepted += 1
      for entry in header.entries {
        #expect(
          entry.range.upperBound <= bytes.count
            && entry.shape.reduce(entry.type.bitCount, *) == entry.range.count * 8, "seed \(seed)")
      }
    }
    #expect(accepted > 0, "seed \(seed): every mutation was refused, so nothing was tested")
  }

  // MARK: Checkpoints

  private func memory(_ files: [String: [UInt8]]) -> ModelFiles {
    ModelFiles(
      place: "m",
      memory: files.mapValues { bytes in
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 64)
        copy.copyBytes(from: bytes)
        return FileBytes(immortal: UnsafeRawBufferPointer(rebasing: copy[..<bytes.count]))
      })
  }

  @Test func `a sharded checkpoint has the tensors of all its files`() throws {
    let checkpoint = try Checkpoint(Fixture.files("llama_mha"))
    #expect(checkpoint.names.count == 21)
    #expect(checkpoint["lm_head.weight"]?.path.hasSuffix("model-00001-of-00002.safetensors") == true)
    #expect(checkpoint["model.norm.weight"]?.path.hasSuffix("model-00002-of-00002.safetensors") == true)
    #expect(checkpoint.byteCount == 205440)
  }

  @Test(arguments: [
    (#"{}"#, "weight_map"), (#"{"weight_map":{}}"#, "is empty"), (#"{"weight_map":{"a":1}}"#, "names no file"),
    (#"{"weight_map":{"a":"../x.safetensors"}}"#, "not a file name"),
    (#"{"weight_map":{"a":".."}}"#, "not a file name"),
    (#"{"weight_map":{"a":"gone.safetensors"}}"#, "is missing although"),
    (#"{"weight_map":{"b":"one.safetensors"}}"#, "\"b\" is missing"), (#"{"weight"#, "not JSON"),
  ])
  func `an index that does not fit its files is refused`(index: String, reason: String) {
    let one = file(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, data: 4)
    let files = memory(["model.safetensors.index.json": Array(index.utf8), "one.safetensors": one])
    let error = #expect(throws: ModelFileError.self) { try Checkpoint(files) }
    #expect(error?.reason.contains(reason) == true, "\(error?.description ?? "none")")
  }

  @Test func `a folder without safetensors says what it has and what would work`() {
    let error = #expect(throws: ModelFileError.self) { try Checkpoint(memory(["pytorch_model.bin": [0]])) }
    #expect(error?.reason.contains("pytorch_model.bin") == true)
    #expect(error?.reason.contains("--load-format dummy") == true)
  }

  @Test(arguments: Fixture.models)
  func `every fixture has exactly the tensors its family declares`(model: String) throws {
    let files = Fixture.files(model)
    let configuration = try ModelConfiguration(files)
    #expect(try configuration.check(Checkpoint(files), place: files.place) == [])
  }

  @Test func `missing tensors and wrong shapes name the tensor, unexpected ones are listed`() throws {
    let files = Fixture.files("llama_mha")
    var configuration = try ModelConfiguration(files)
    let checkpoint = try Checkpoint(files)
    configuration.layerCount = 1
    #expect(try configuration.check(checkpoint, place: "m").count == 9)
    configuration.layerCount = 3
    let missing = #expect(throws: ModelFileError.self) { try configuration.check(checkpoint, place: "m") }
    #expect(missing?.reason.contains("9 of 30 tensors") == true)
    #expect(missing?.reason.contains("model.layers.2.input_layernorm.weight") == true)
    configuration.layerCount = 2
    configuration.intermediateSize = 128
    let shape = #expect(throws: ModelFileError.self) { try configuration.check(checkpoint, place: "m") }
    #expect(shape?.reason.contains("[96, 64] and config.json calls for [128, 64]") == true)
    let tied = try ModelConfiguration(Fixture.files("qwen2"), overrides: ["tie_word_embeddings": false])
    let head = #expect(throws: ModelFileError.self) {
      try tied.check(Checkpoint(Fixture.files("qwen2")), place: "m")
    }
    #expect(head?.reason.contains("tie_word_embeddings") == true)
  }
}
