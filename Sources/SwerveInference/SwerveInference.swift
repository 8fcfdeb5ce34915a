import SwerveCore
