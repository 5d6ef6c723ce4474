(set-logic QF_NRA)
(declare-fun x6 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x9 () Real)
(declare-fun x8 () Real)
(declare-fun x7 () Real)
(declare-fun x4 () Real)
(declare-fun x1 () Real)
(declare-fun x0 () Real)
(declare-fun x5 () Real)
(declare-fun x14 () Real)
(declare-fun x13 () Real)
(declare-fun x10 () Real)
(declare-fun x11 () Real)
(declare-fun x12 () Real)
(assert
 (let ((?x25 (* x2 x2 x2 x2 x3)))
 (let ((?x41 (+ ?x25 (* 2.0 x2 x2 x3 x3 x6) (* (- 1.0) x2 x2 x2 x7 x7) (* (- 2.0) x2 x3 x6 x7 x7) (* (- 4.0) x2 x2 x2 x3 x8) (* (- 2.0) x2 x3 x3 x6 x8) (* 2.0 x2 x2 x7 x7 x8) (* 3.0 x2 x2 x3 x8 x8) (* 2.0 x2 x2 x3 x7 x9) (* 2.0 x3 x3 x6 x7 x9) (* (- 2.0) x2 x3 x7 x8 x9) (* (- 1.0) x2 x3 x3 x9 x9))))
 (let ((?x14 (* x3 x4 x4)))
 (let ((?x23 (+ (* (- 1.0) x1 x1 x2) (* x0 x2 x2) ?x14 (* (- 2.0) x2 x4 x5) (* (- 1.0) x0 x3 x6) (* 2.0 x1 x4 x7))))
 (or (< 0.0 ?x23) (and (distinct 0.0 ?x41) true) (< 0.0 (+ (* x2 x2) (* (- 1.0) x3 x6)))))))))
(assert
 (and (= 0.0 (* (- 1.0) x9)) (= 0.0 (* (- 1.0) x7)) (= 0.0 (+ x2 (* (- 1.0) x8)))))
(assert
 (<= 0.0 (+ x2 (- 3.0))))
(assert
 (<= 0.0 (+ (* x0 x3) (* (- 1.0) x5 x5))))
(assert
 (<= 0.0 (+ (* x3 x6) (* (- 1.0) x8 x8))))
(assert
 (<= 0.0 (+ (* x2 x3) (* (- 1.0) x7 x7))))
(assert
 (let ((?x76 (* (- 1.0) x2 x3 x14)))
 (let ((?x74 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x72 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x72 ?x74 ?x76))))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x0 x6))))
(assert
 (<= 0.0 (+ (* (- 1.0) x1 x1) (* x0 x2))))
(assert
 (let ((?x90 (* (- 1.0) x0 x2 x14)))
 (let ((?x89 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x87 (* x0 x2 x13 x13)))
 (<= 0.0 (+ ?x87 ?x89 ?x90))))))
(assert
 (<= 0.0 (+ (* x2 x6) (* (- 1.0) x9 x9))))
(assert
 (let ((?x100 (* (- 1.0) x2 x6 x14)))
 (let ((?x99 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x97 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x97 ?x99 ?x100))))))
(assert
 (<= 0.0 (+ (* x13 x13) (* (- 1.0) x14))))
(assert
 (let ((?x108 (* x0 x3 x6)))
 (let ((?x112 (+ (* (- 1.0) x3 x4 x4) ?x108 (* (- 1.0) x5 x5 x6) (* 2.0 x4 x5 x8) (* (- 1.0) x0 x8 x8))))
 (<= 0.0 ?x112))))
(assert
 (let ((?x119 (+ (* (- 1.0) x1 x1 x3) (* x0 x2 x3) (* (- 1.0) x2 x5 x5) (* 2.0 x1 x5 x7) (* (- 1.0) x0 x7 x7))))
 (<= 0.0 ?x119)))
(assert
 (let ((?x127 (* x2 x5 x5 x14)))
 (let ((?x128 (+ (* x0 x2 x3 x13 x13) (* (- 1.0) x2 x5 x5 x13 x13) (* (- 1.0) x0 x10 x10 x13 x13) (* 2.0 x5 x10 x11 x13 x13) (* (- 1.0) x3 x11 x11 x13 x13) (* (- 1.0) x0 x2 x3 x14) ?x127)))
 (<= 0.0 ?x128))))
(assert
 (let ((?x130 (* x2 x3 x6)))
 (let ((?x135 (+ ?x130 (* (- 1.0) x6 x7 x7) (* (- 1.0) x2 x8 x8) (* 2.0 x7 x8 x9) (* (- 1.0) x3 x9 x9))))
 (<= 0.0 ?x135))))
(assert
 (let ((?x143 (* x2 x8 x8 x14)))
 (let ((?x137 (* x2 x3 x6 x13 x13)))
 (let ((?x144 (+ ?x137 (* (- 1.0) x2 x8 x8 x13 x13) (* (- 1.0) x6 x10 x10 x13 x13) (* 2.0 x8 x10 x12 x13 x13) (* (- 1.0) x3 x12 x12 x13 x13) (* (- 1.0) x2 x3 x6 x14) ?x143)))
 (<= 0.0 ?x144)))))
(assert
 (let ((?x147 (* x7 x7 x14)))
 (let ((?x76 (* (- 1.0) x2 x3 x14)))
 (let ((?x74 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x72 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x72 (* (- 1.0) x7 x7 x13 x13) ?x74 ?x76 ?x147)))))))
(assert
 (let ((?x155 (+ (* (- 1.0) x2 x4 x4) (* (- 1.0) x1 x1 x6) (* x0 x2 x6) (* 2.0 x1 x4 x9) (* (- 1.0) x0 x9 x9))))
 (<= 0.0 ?x155)))
(assert
 (let ((?x162 (* x2 x4 x4 x14)))
 (let ((?x164 (+ (* (- 1.0) x2 x4 x4 x13 x13) (* x0 x2 x6 x13 x13) (* (- 1.0) x6 x11 x11 x13 x13) (* 2.0 x4 x11 x12 x13 x13) (* (- 1.0) x0 x12 x12 x13 x13) ?x162 (* (- 1.0) x0 x2 x6 x14))))
 (<= 0.0 ?x164))))
(assert
 (let ((?x90 (* (- 1.0) x0 x2 x14)))
 (let ((?x167 (* x1 x1 x14)))
 (let ((?x89 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x87 (* x0 x2 x13 x13)))
 (<= 0.0 (+ (* (- 1.0) x1 x1 x13 x13) ?x87 ?x89 ?x167 ?x90)))))))
(assert
 (let ((?x171 (* x9 x9 x14)))
 (let ((?x100 (* (- 1.0) x2 x6 x14)))
 (let ((?x99 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x97 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x97 (* (- 1.0) x9 x9 x13 x13) ?x99 ?x100 ?x171)))))))
(assert
 (<= 0.0 (+ (* x13 x13) (* (- 1.0) x14))))
(assert
 (<= 0.0 x0))
(assert
 (< 0.0 x2))
(assert
 (<= 0.0 x3))
(assert
 (<= 0.0 x6))
(assert
 (< 0.0 x13))
(assert
 (<= 0.0 x14))
(check-sat)
