from .shelves import count
